"""Run all benchmarks one after the other, each small enough that all take about two minutes.

    python -m benchmarks [NAME...]

Each runs in a process of its own, as `python -m benchmarks.NAME` with options of its own does.
"""

import argparse
import subprocess
import sys
import time

# Enough for ratios; for figures to keep, run one alone with its defaults.
SMALL: dict[str, tuple[str, ...]] = {
    "scanner": ("--rounds", "5"),
    "multipart": ("--parts", "100"),
    "storage": ("--rounds", "3"),
    "transactions": ("--rounds", "3"),
    "retrieve": ("--rounds", "2", "--instances", "50", "--seconds", "4", "--slow-readers", "30"),
    "rendered": ("--rounds", "2", "--seconds", "1"),
    "index": ("--seconds", "2", "--sizes", "2000"),
    "search": ("--instances", "8000", "--repeat", "9"),
}


def main() -> None:
    """Run the named benchmarks, or all; leave with status 1 when one fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(SMALL))
    names = parser.parse_args().names or list(SMALL)
    if unknown := set(names) - set(SMALL):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(SMALL)}")
    failed = [name for name in names if not run(name)]
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def run(name: str) -> bool:
    """Run one benchmark with few rounds; tell whether it succeeded."""
    print(f"== {name} {' '.join(SMALL[name])}", flush=True)
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *SMALL[name]], check=False)
    print(f"== {name}: {time.monotonic() - start:.0f} s\n", flush=True)
    return done.returncode == 0


if __name__ == "__main__":
    main()
