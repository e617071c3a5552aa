#!/usr/bin/env bash
# Prints how much code (bytes of text and data) a memtable is on a Cortex-M4, by what an image uses of it and by the number of
# levels. The image without a memtable is subtracted. Needs Debian's rustc-web, cargo-web, rust-web-src and lld-22.
#
#   bash examples/embedded/code-size.sh [OPT-LEVEL]        z unless given
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/code-size"

export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target} CARGO_PROFILE_RELEASE_OPT_LEVEL=${1:-z}
export CARGO_TARGET_THUMBV7EM_NONE_EABIHF_RUSTFLAGS='-Clinker=ld.lld-22 -Clinker-flavor=ld.lld'

# size_of FEATURES…: sets `bytes` to text and data of an image. Symbols stay in the file, for `nm --size-sort`.
size_of() {
    local image=$CARGO_TARGET_DIR/thumbv7em-none-eabihf/release/memskip-code-size
    PATH=/usr/bin:/bin RUSTC_BOOTSTRAP=1 cargo build --quiet --release --locked --target thumbv7em-none-eabihf \
        -Zbuild-std=core,alloc --features "$*" 2>"$CARGO_TARGET_DIR/code-size.log" || {
        cat "$CARGO_TARGET_DIR/code-size.log" >&2
        exit 1
    }
    bytes=$(size "$image" | awk 'NR == 2 { print $1 + $2 }')
}

mkdir -p "$CARGO_TARGET_DIR"
size_of
base=$bytes
printf '%-44s %8s %8s %8s\n' 'bytes of text and data, thumbv7em' '1 level' '4' '12'
while IFS='|' read -r name features; do
    row=()
    for levels in levels-1 levels-4 ''; do
        size_of "$features $levels"
        row+=($((bytes - base)))
    done
    printf '%-44s %8d %8d %8d\n' "$name" "${row[@]}"
done <<'END'
put, put_tombstone, get|point
the whole list, no allocator|list
the same, and validate|validate
END
size_of alloc
printf '%-44s %8s %8s %8d\n' 'both, and growing tables, batches (alloc)' '' '' $((bytes - base))
