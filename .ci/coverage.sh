#!/usr/bin/env bash
# How much of src/list and src/arena the tests reach, by lines and by branches, and that it does not shrink.
source "$(dirname "$0")/lib.sh"
debs llvm-22
tool cargo-llvm-cov 0.6.21
export RUSTC_BOOTSTRAP=1 LLVM_COV=$llvm/bin/llvm-cov LLVM_PROFDATA=$llvm/bin/llvm-profdata MEMSKIP_LIGHT=1

# In percent; a little below what was measured.
lines=94 branches=85

proves "at least $lines % of the lines and $branches % of the branches of the list and the arenas are reached"
# Without the engine on top: its killed processes leave half-written profiles.
RUSTFLAGS='--cfg old_compiler' cargo llvm-cov --quiet --branch --lib --tests --json --output-path "$target/coverage.json"
python3 - "$target/coverage.json" "$lines" "$branches" <<'END'
import json, os, sys

def percent(counts):
    return 100 * counts[0] / counts[1] if counts[1] else 100

[data] = json.load(open(sys.argv[1]))["data"]
total = {"lines": [0, 0], "branches": [0, 0]}
print(f"{'file':<28}{'lines':>14}{'%':>7}{'branches':>14}{'%':>7}")
for file in sorted(data["files"], key=lambda file: file["filename"]):
    name = os.path.relpath(file["filename"])
    if not name.startswith(("src/list/", "src/arena/")) or name.endswith("/tests.rs"):
        continue
    row = f"{name:<28}"
    for kind, sums in total.items():
        counts = [file["summary"][kind]["covered"], file["summary"][kind]["count"]]
        sums[0] += counts[0]
        sums[1] += counts[1]
        row += f"{counts[0]:>6} / {counts[1]:<5}{percent(counts):>7.1f}"
    print(row)
print(f"{'together':<28}" + "".join(f"{sums[0]:>6} / {sums[1]:<5}{percent(sums):>7.1f}" for sums in total.values()))
short = [kind for kind, floor in zip(total, sys.argv[2:]) if percent(total[kind]) < float(floor)]
sys.exit(f"too few: {', '.join(short)}" if short else 0)
END
