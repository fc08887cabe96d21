"""`python -m tests.bench [NAME …]`: run the benchmarks, exit 1 if one misses its budget.

Without a name all but `audit`, which has the rows of several others again, over ten million entries.
"""

import sys
from importlib import import_module
from pathlib import Path


def main(names: list[str]) -> int:
    """Run each module's `run() -> Iterator[Figure]`."""
    known = sorted(path.stem.removeprefix("bench_") for path in Path(__file__).parent.glob("bench_*.py"))
    unknown = set(names) - set(known)
    if unknown:
        sys.stderr.write(f"no benchmark {', '.join(sorted(unknown))}; there are: {', '.join(known)}\n")
        return 2
    missed = 0
    for name in names or [name for name in known if name != "audit"]:
        for figure in import_module(f"tests.bench.bench_{name}").run():
            missed += not figure.emit()
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
