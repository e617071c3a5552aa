#!/usr/bin/env bash
# Formatting, lints, tests, documentation, examples, the oldest compiler. (That no `std` is linked: .ci/no_std.sh.)
source "$(dirname "$0")/lib.sh"

all=$(all_features)
# What a user would choose.
sets=('--no-default-features' '--no-default-features --features alloc' '--features std' "--features $all")

proves 'the lock file is that of the manifest'
cargo metadata --locked --format-version 1 >/dev/null

proves 'rustfmt has nothing to change'
cargo fmt --check

for features in "${sets[@]}"; do
    proves "clippy has nothing to say: $features"
    # shellcheck disable=SC2086 # several words on purpose
    cargo clippy --quiet --all-targets $features -- -D warnings
done

proves 'the tests pass, those in the documentation included: `cargo test`'
cargo test
cargo test --quiet --doc --features "$all"

for features in "${sets[0]}" "${sets[1]}" "${sets[3]}"; do
    proves "so do those that other features leave: $features"
    # shellcheck disable=SC2086
    cargo test --quiet --lib --tests $features
done

proves 'the documentation builds without a warning: with every feature, with none, and as docs.rs builds it'
for features in "${sets[0]}" "${sets[3]}"; do
    # shellcheck disable=SC2086
    RUSTDOCFLAGS='-D warnings' cargo doc --quiet --no-deps $features
done
RUSTC_BOOTSTRAP=1 RUSTDOCFLAGS='--cfg docsrs -D warnings' \
    cargo doc --quiet --no-deps --features "$(docs_features)" --target-dir "$target/docsrs"

proves 'every example runs'
cargo build --quiet --release --examples --features "$all"
for path in examples/*.rs examples/*/main.rs; do
    name=${path#examples/}
    name=${name%/main.rs}
    name=${name%.rs}
    printf -- '-- %s\n' "$name"
    # A command line, run below.
    [ "$name" = lsm_store ] && continue
    "$target/release/examples/$name" >"$target/example.log" 2>&1 </dev/null || {
        cat "$target/example.log"
        die "example $name"
    }
    tail -n 4 "$target/example.log"
done
must_report . "$target/release/examples/lsm_memtable" /no/such/path

proves 'the command line of lsm_store: load, scan, get, delete, verify, bench, and a clear error'
store=$target/release/examples/lsm_store
rm -rf "$target/lsm_store" && mkdir -p "$target/lsm_store"
sources=$PWD/src
(
    cd "$target/lsm_store"
    "$store" load "$sources" </dev/null
    [ "$("$store" scan list | cut -f1 | head -n 3 | wc -l)" = 3 ]
    cmp <("$store" get 'lib.rs#00000000') <(head -c 16384 "$sources/lib.rs")
    "$store" delete 'lib.rs#00000000'
    if "$store" get 'lib.rs#00000000' 2>/dev/null; then die 'a deleted key is there'; fi
    "$store" verify >/dev/null
    "$store" bench --records 2000 --operations 500 >bench.log
    tail -n 3 bench.log
    must_report . "$store" --dir /no/such/store stats
)

proves "the library builds with the oldest compiler it names"
oldest 1.85.0
"$target/oldest/rustc" --version
for features in "${sets[@]}"; do
    # shellcheck disable=SC2086
    RUSTC=$target/oldest/rustc cargo check --quiet --lib $features --target-dir "$target/oldest/target"
done
