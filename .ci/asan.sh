#!/usr/bin/env bash
# AddressSanitizer and LeakSanitizer over all tests.
source "$(dirname "$0")/lib.sh"

export RUSTC_BOOTSTRAP=1 RUSTFLAGS='-Zsanitizer=address' ASAN_OPTIONS='detect_leaks=1:detect_stack_use_after_return=1'
export CARGO_PROFILE_DEV_DEBUG=line-tables-only MEMSKIP_LIGHT=1

under_asan() { cargo test --quiet --target "$host" --target-dir "$target/asan" "$@"; }

# planted NAME PATTERN
planted() { MEMSKIP_PLANT=1 must_report "$2" under_asan --test planted_faults -- --ignored --exact "$1"; }

proves 'a read past the end, a read after the table is gone, and a leaked table are reported'
planted overflow 'AddressSanitizer: heap-buffer-overflow'
planted use_after_drop 'AddressSanitizer: heap-use-after-free'
planted leak 'LeakSanitizer: detected memory leaks'

proves 'no test reads or writes out of bounds or after the end of its memory, and none leaks'
under_asan --no-fail-fast --lib --tests
