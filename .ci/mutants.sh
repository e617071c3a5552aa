#!/usr/bin/env bash
# Every small change (mutant) to src/list and src/arena must make a test fail. All of them are built at once and chosen when a
# test runs: some 1,100 take about ten minutes on two cores once built, and fifty in constants half a minute each.
# `bash .ci/mutants.sh --shard 3/20` does a twentieth; that and other options go to `cargo mutants --list`. What survives is
# listed in .ci/mutants/explained.txt, and why in src/design.rs.
source "$(dirname "$0")/lib.sh"
tool cargo-mutants 26.0.0

work=$target/mutants
mkdir -p "$work/tree"
# A copy of what is here now, committed or not; what has gone here goes there, and build results stay.
rm -rf "$work/tree/src" "$work/tree/tests" "$work/tree/benches" "$work/tree/examples"
git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
    [ ! -e "$file" ] || cp --parents --preserve=timestamps "$file" "$work/tree"
done
cargo build --quiet --release --manifest-path .ci/mutants/Cargo.toml --target-dir "$target/tools"

options=(--exclude src/list/tests.rs --file 'src/list/*.rs' --file 'src/arena/*.rs' "$@")
cargo mutants --list --json "${options[@]}" >"$work/list.json"
cargo mutants --list --colors never "${options[@]}" >"$work/list.txt"

proves 'what survives is explained: .ci/mutants/explained.txt, src/design.rs'
python3 .ci/mutants/run.py "$work/tree" "$work/build" "$target/tools/release/schemata" \
    "$work/list.json" "$work/list.txt" .ci/mutants/explained.txt "$work/out" || die 'mutants that no test notices'
