"""How long the command line takes from a cold start: `--help`, and a search on the sample library.

Each command is a fresh process; the median of RUNS is printed beside `python -c pass`, so that a slow machine shows.

    python -m benchmarks.startup
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks._machine import describe

RUNS = 7
HELP_LIMIT_S = 0.5
SEARCH_LIMIT_S = 3.0


def seconds(command: list[str]) -> float:
    """Return the median wall time of RUNS fresh processes, after one that warms the disk cache."""
    times = []
    for _ in range(RUNS + 1):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def main() -> None:
    """Build the sample library, time the commands, print a table."""
    matlit = [sys.executable, "-m", "ui"]
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "demo"
        subprocess.run([*matlit, "demo", str(library)], check=True, capture_output=True)
        given = ["--library", str(library / "library" if (library / "library").is_dir() else library)]
        rows = {
            "python -c pass": ([sys.executable, "-c", "pass"], None),
            "matlit --help": ([*matlit, "--help"], HELP_LIMIT_S),
            "matlit papers": ([*matlit, "papers", *given], None),
            "matlit search (hybrid)": ([*matlit, "search", "band gap of anatase", *given], SEARCH_LIMIT_S),
            "matlit ask": ([*matlit, "ask", "What is the band gap of anatase?", *given], None),
        }
        print(describe("matlit", "click", "chromadb", "onnxruntime"), f"| median of {RUNS} fresh processes")
        for name, (command, limit) in rows.items():
            wanted = f"   wanted ≤ {limit:.1f} s" if limit else ""
            print(f"{name:<24} {seconds(command):6.2f} s{wanted}")


if __name__ == "__main__":
    main()
