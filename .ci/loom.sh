#!/usr/bin/env bash
# loom over the crate itself: every interleaving of a few threads, and a twin of the models for every ordering that matters.
source "$(dirname "$0")/lib.sh"

export RUSTFLAGS='--cfg loom' CARGO_PROFILE_RELEASE_DEBUG=0
under_loom() { cargo test --quiet --release --target-dir "$target/loom" --test loom -- --test-threads "$(nproc)" --show-output "$@"; }

proves 'the models pass, and each sees every outcome it must: `tests/loom.rs`'
under_loom --skip twins:: | grep -E '^(executions|test result|----)'

proves 'with any one ordering weakened a model fails'
under_loom twins:: | grep -E '^([a-z_]+: |test result)'
