#!/usr/bin/env bash
# loom over the crate itself: every interleaving of a few threads, and a twin of the models for every ordering that matters.
source "$(dirname "$0")/lib.sh"

export RUSTFLAGS='--cfg loom' CARGO_PROFILE_RELEASE_DEBUG=0
mkdir -p "$target/loom"
log=$target/loom/models.log

# under_loom PATTERN ARGUMENTS…: of what the models say, the lines that PATTERN finds; all of it if one fails.
under_loom() {
    local pattern=$1
    shift
    cargo test --quiet --release --target-dir "$target/loom" --test loom -- --test-threads "$(nproc)" --show-output "$@" \
        >"$log" 2>&1 || { cat "$log" && die 'loom'; }
    grep -E "$pattern" "$log"
}

proves 'the models pass, and each sees every outcome it must: `tests/loom.rs`'
under_loom '^(executions|test result|----)' --skip twins::

proves 'with any one ordering weakened a model fails'
under_loom '^([a-z_]+: |test result)' twins::
