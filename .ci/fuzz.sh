#!/usr/bin/env bash
# libFuzzer over tests/fuzz: first the inputs kept there, then new ones for FUZZ_SECONDS (30) a target.
source "$(dirname "$0")/lib.sh"
tool cargo-fuzz 0.13.2
export RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=$target/fuzz

# fuzz TARGET FLAGS…: what is found goes to a folder of the build, what is kept stays as it is.
fuzz() {
    mkdir -p "$target/fuzz/found/$1"
    cargo fuzz run --fuzz-dir tests/fuzz "$1" "$target/fuzz/found/$1" "tests/fuzz/corpus/$1" -- -max_len=2000 -len_control=0 -timeout=20 "-artifact_prefix=$target/fuzz/artifacts-$1-" "${@:2}"
}

# brief LINES COMMAND…: of its output only LINES, or much of it when it fails.
brief() {
    "${@:2}" >"$target/fuzz/log" 2>&1 || {
        tail -n 100 "$target/fuzz/log" >&2
        die "${*:2}"
    }
    grep -E "$1" "$target/fuzz/log"
}

mkdir -p "$target/fuzz"
brief Finished cargo fuzz build --fuzz-dir tests/fuzz

proves 'a comparator with hints that run the wrong way is found out'
MEMSKIP_PLANT=1 must_report 'a later key has a smaller hint' fuzz hints -runs=100000

for name in operations hints; do
    proves "$name: $(ls "tests/fuzz/corpus/$name" | wc -l) kept inputs and ${FUZZ_SECONDS:-30} seconds of new ones agree with the model"
    brief ^Done fuzz "$name" -max_total_time="${FUZZ_SECONDS:-30}"
done
