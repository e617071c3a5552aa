#!/usr/bin/env bash
# The tests where words have 32 bits (i686), where bytes stand the other way round (s390x), and on aarch64. The first
# runs natively, the others under qemu, which says nothing about weak memory: loom and ThreadSanitizer do.
source "$(dirname "$0")/lib.sh"
oldest 1.85.0
debs qemu-user gcc-{i686,aarch64,s390x}-linux-gnu libc6-dev-{i386,arm64,s390x}-cross

# Debian has the same compiler's library for each of them; the lists of those packages are kept beside the system's.
lists=$target/oldest/lists
foreign() {
    apt-get -o APT::Architectures::=amd64 -o APT::Architectures::="$1" -o Dir::State::lists="$lists" -qq "${@:2}"
}
for pair in i686:i386 aarch64:arm64 s390x:s390x; do
    arch=${pair#*:}
    [ -d "$target/oldest/root/usr/lib/rustlib/${pair%:*}-unknown-linux-gnu/lib" ] && continue
    mkdir -p "$lists/partial"
    printf "fetching the library for %s\n" "$arch"
    # One unreadable index (a mirror amid its update) does not matter if the package is found.
    foreign "$arch" update 2>/dev/null || true
    (cd "$target/oldest" && retry foreign "$arch" download "libstd-rust-web-dev:$arch=1.85.0*" 2>/dev/null) || die "no library for $arch"
    dpkg -x "$target"/oldest/libstd-rust-web-dev_*_"$arch".deb "$target/oldest/root"
    rm "$target"/oldest/libstd-rust-web-dev_*_"$arch".deb
done

export CARGO_TARGET_I686_UNKNOWN_LINUX_GNU_LINKER=i686-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_S390X_UNKNOWN_LINUX_GNU_LINKER=s390x-linux-gnu-gcc
# qemu-i386 hangs on threads; the loader runs natively.
export CARGO_TARGET_I686_UNKNOWN_LINUX_GNU_RUNNER='/usr/i686-linux-gnu/lib/ld-linux.so.2 --library-path /usr/i686-linux-gnu/lib'
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER='qemu-aarch64 -L /usr/aarch64-linux-gnu'
export CARGO_TARGET_S390X_UNKNOWN_LINUX_GNU_RUNNER='qemu-s390x -L /usr/s390x-linux-gnu'
export CARGO_PROFILE_DEV_DEBUG=line-tables-only
# Too old for the tree of `examples/lsm_store`, which is left out.
export RUSTC=$target/oldest/rustc RUSTFLAGS='--cfg old_compiler' MEMSKIP_LIGHT=1

# suite ARCH TESTS…
suite() {
    proves "on $1 pass: ${*:2}"
    cargo test --quiet --no-fail-fast --target "$1-unknown-linux-gnu" --target-dir "$target/oldest/target" "${@:2}"
}

suite i686 --lib --tests
# What reads and writes words, orders keys, and starts threads; the rest of the tests would say nothing new there.
some=(--lib --test contract --test boundaries --test versions --test model --test flipped_bytes --test concurrent --test single_writer)
suite s390x "${some[@]}"
suite aarch64 "${some[@]}"
