# What the stages share; sourced by them, never run by itself.
#
# A stage is one script: `bash .ci/NAME.sh`. It installs what it needs, says what it proves, and exits non-zero on the
# first thing that does not hold. Build folders live under `CARGO_TARGET_DIR` (default: `target`), one per compiler and
# kind of instrumentation, and are kept from stage to stage.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

target=${CARGO_TARGET_DIR:-$PWD/target}
export CARGO_TARGET_DIR=$target CARGO_INCREMENTAL=0 CARGO_NET_RETRY=5 CARGO_TERM_COLOR=never
export DEBIAN_FRONTEND=noninteractive
# Components are never fetched here: what is missing comes from Debian.
export CARGO_LLVM_COV_SETUP=no

host=x86_64-unknown-linux-gnu
llvm=/usr/lib/llvm-22

# proves TEXT: what the lines that follow show.
proves() { printf '\n== %s\n' "$*"; }

die() {
    printf 'FAILED: %s\n' "$*" >&2
    exit 1
}

# retry COMMAND…: up to four times, since registries and apt's lock have bad moments.
retry() {
    local try
    for try in 1 2 3 4; do
        "$@" && return
        printf 'try %d failed: %s\n' "$try" "$*" >&2
        sleep $((try * 5))
    done
    return 1
}

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }
apt() { as_root apt-get -o DPkg::Lock::Timeout=600 -qq -y "$@"; }

# debs PACKAGE…: installs those that are missing.
debs() {
    local package missing=()
    for package; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
    done
    [ ${#missing[@]} = 0 ] && return
    printf 'installing %s\n' "${missing[*]}"
    retry apt update || die 'apt-get update'
    retry apt install --no-install-recommends "${missing[@]}" >/dev/null || die "installing ${missing[*]}"
}

# tool NAME VERSION: a cargo subcommand, built when it is missing.
tool() {
    command -v "$1" >/dev/null && return
    printf 'installing %s %s\n' "$1" "$2"
    CARGO_TARGET_DIR=$target/tools RUSTFLAGS='' retry cargo install --quiet --locked "$1@$2" || die "installing $1"
}

# all_features: every feature that a host can have at once, comma separated. The two for cores without compare-and-swap
# exclude one another; .ci/no_std.sh builds them where they belong.
all_features() {
    cargo metadata --no-deps --format-version 1 | python3 -c '
import json, sys
[package] = json.load(sys.stdin)["packages"]
print(",".join(sorted(package["features"].keys() - {"default", "critical-section", "unsafe-assume-single-core"})))'
}

# docs_features: what docs.rs is told to build, comma separated.
docs_features() {
    cargo metadata --no-deps --format-version 1 | python3 -c '
import json, sys
[package] = json.load(sys.stdin)["packages"]
print(",".join(package["metadata"]["docs"]["rs"]["features"]))'
}

# second COMMAND…: with Debian's compiler, which brings the source of its own standard library, so that `-Zbuild-std`
# needs no network. rustup's proxies must not be on its path.
second_compiler() { debs rustc-web cargo-web rust-web-src lld-22; }
second() { PATH=/usr/bin:/bin RUSTC_BOOTSTRAP=1 "$@"; }

# oldest VERSION: makes $target/oldest/rustc, a compiler of that version with its own library, from Debian's packages
# unpacked beside the installed ones.
oldest() {
    local dir=$target/oldest package
    [ -x "$dir/rustc" ] && "$dir/rustc" --version >/dev/null 2>&1 && return
    mkdir -p "$dir/debs"
    printf 'fetching rustc %s\n' "$1"
    retry apt update || die 'apt-get update'
    (cd "$dir/debs" && retry apt-get -qq download "rustc-web=$1*" "libstd-rust-web-dev=$1*" "libstd-rust-web-${1%.*}" libllvm19) ||
        die "no packages of rustc $1"
    for package in "$dir"/debs/*.deb; do dpkg -x "$package" "$dir/root"; done
    rm -r "$dir/debs"
    cat >"$dir/rustc" <<-END
	#!/bin/sh
	LD_LIBRARY_PATH='$dir/root/usr/lib/x86_64-linux-gnu' exec '$dir/root/usr/bin/rustc' --sysroot '$dir/root/usr' "\$@"
	END
    chmod +x "$dir/rustc"
}

# must_report PATTERN COMMAND…: the command has to fail and to print PATTERN. Shows that a checker sees what it is for.
must_report() {
    local pattern=$1 log=$target/planted.log
    shift
    mkdir -p "$target"
    if "$@" >"$log" 2>&1; then
        tail -n 30 "$log" >&2
        die "a planted fault went unnoticed: $*"
    fi
    grep -q -- "$pattern" "$log" || {
        tail -n 60 "$log" >&2
        die "failed, but without '$pattern': $*"
    }
    printf 'reported, as it must be: %s\n' "$(grep -m1 -- "$pattern" "$log")"
}
