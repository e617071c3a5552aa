#!/usr/bin/env bash
# ThreadSanitizer, the standard library instrumented too, over every test with threads in it. No suppressions.
source "$(dirname "$0")/lib.sh"
second_compiler
debs libclang-rt-22-dev

mkdir -p "$target/tsan/lld"
ln -sf /usr/bin/ld.lld-22 "$target/tsan/lld/ld.lld"
runtime=$llvm/lib/clang/22/lib/linux/libclang_rt.tsan-x86_64.a
export RUSTFLAGS="-Zsanitizer=thread -Zexternal-clangrt -Clink-arg=-Wl,--whole-archive -Clink-arg=$runtime
    -Clink-arg=-Wl,--no-whole-archive -Clink-arg=-Wl,--export-dynamic -Clink-arg=-fuse-ld=lld -Clink-arg=-B$target/tsan/lld"
# What a data race is does not depend on how far a loop runs; what a run costs does.
export TSAN_OPTIONS='halt_on_error=1' MEMSKIP_LIGHT=1
export CARGO_PROFILE_DEV_OPT_LEVEL=1 CARGO_PROFILE_DEV_DEBUG=line-tables-only

# under_tsan TARGETS…: `cargo test` of them.
under_tsan() {
    second cargo test --quiet --target "$host" -Zbuild-std --target-dir "$target/tsan" "$@"
}

# Those whose subject is threads.
threaded=(--lib)
for path in tests/{concurrent,manager,monitor,faults_of_others,single_writer}*.rs; do
    [ -e "$path" ] && threaded+=(--test "$(basename "$path" .rs)")
done

proves 'a planted race is reported'
MEMSKIP_PLANT=1 must_report 'WARNING: ThreadSanitizer: data race' under_tsan --test planted_faults -- --ignored --exact race

# The crate itself with one ordering weakened (see src/sync.rs), the dependencies as they are.
cat >"$target/tsan/weaken" <<'END'
#!/bin/sh
exec "$@" --cfg "memskip_weaken=\"$MEMSKIP_WEAKEN\""
END
chmod +x "$target/tsan/weaken"
proves 'so is the crate itself with the ordering that publishes nodes weakened'
MEMSKIP_WEAKEN=link RUSTC_WORKSPACE_WRAPPER=$target/tsan/weaken \
    must_report 'WARNING: ThreadSanitizer: data race' under_tsan --test concurrent

proves "no race in ${threaded[*]}"
under_tsan "${threaded[@]}"
