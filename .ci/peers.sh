#!/usr/bin/env bash
# The comparison with other libraries: it builds, and every library gives right answers, whichever way memskip writes.
source "$(dirname "$0")/lib.sh"

export CARGO_TARGET_DIR=$target/peers
# What is measured here is nothing; what is built for that, with one codegen unit, takes three times as long.
export CARGO_PROFILE_RELEASE_LTO=false CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_DEBUG=0
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

# RocksDB's source, from the package of its bindings, which are not built.
rocksdb=0.17.3+10.4.2
mkdir -p "$out/rocksdb/src"
touch "$out/rocksdb/src/lib.rs"
cat >"$out/rocksdb/Cargo.toml" <<END
[package]
name = "source"
edition = "2024"
[dependencies]
librocksdb-sys = "=${rocksdb%+*}"
[workspace]
END
(cd "$out/rocksdb" && retry cargo fetch --quiet)
ROCKSDB_DIR=$(find "${CARGO_HOME:-$HOME/.cargo}/registry/src" -maxdepth 2 -name "librocksdb-sys-$rocksdb" | head -n 1)/rocksdb
[ -d "$ROCKSDB_DIR" ] || die 'no source of RocksDB'
export ROCKSDB_DIR
debs g++

for features in memskip,rocksdb single-writer; do
    proves "benches/peers ($features): no lint, no wrong answer"
    (
        cd benches/peers
        retry cargo fetch --quiet --locked
        cargo fmt --check
        cargo clippy --quiet --release --locked --features "$features" -- -D warnings
        cargo run --quiet --release --locked --features "$features" -- --quick --out "$out" >"$out/tables.md"
    )
    grep -q 'fillrandom' "$out/tables.md" || die 'no table'
done
proves 'benches/peers curve: counts comparisons'
(cd benches/peers && cargo run --quiet --release --locked -- curve -n 1000 3000 --traced 0 --out "$out" >"$out/curve.md")
grep -q '3000' "$out/curve.md" || die 'no curve'
