#!/usr/bin/env bash
# shuttle: thousands of random and PCT schedules of four threads, every history checked for linearizability.
source "$(dirname "$0")/lib.sh"

proves 'every history has an order that explains it, and the checker sees one that has none: `tests/linearizability`'
RUSTFLAGS='--cfg shuttle' CARGO_PROFILE_RELEASE_DEBUG=0 \
    cargo test --quiet --release --target-dir "$target/shuttle" --test linearizability
