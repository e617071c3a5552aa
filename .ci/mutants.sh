#!/usr/bin/env bash
# cargo mutants over src/list and src/arena: every small change to them must make a test fail. Takes hours, so it is no
# part of .ci/run; `bash .ci/mutants.sh --shard 3/20` does a twentieth, other options are passed on too.
source "$(dirname "$0")/lib.sh"
tool cargo-mutants 26.0.0
export MEMSKIP_LIGHT=1 CARGO_PROFILE_DEV_DEBUG=false

proves 'what survives is explained in src/design.rs'
status=0
# The tests that see most come first; a loop without end is a mutant caught.
cargo mutants --no-shuffle --colors never --timeout 120 --output "$target" --exclude src/list/tests.rs \
    --file 'src/list/*.rs' --file 'src/arena/*.rs' "$@" -- --lib --tests || status=$?
cat "$target/mutants.out/missed.txt"
# 2: some survive, 3: some time out. Anything else is a failure of the run itself.
[ "$status" = 0 ] || [ "$status" = 2 ] || [ "$status" = 3 ] || die "cargo mutants: $status"
