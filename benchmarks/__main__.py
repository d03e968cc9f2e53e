"""Run every benchmark, one after the other, each in a process of its own: `python -m benchmarks`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def main() -> int:
    """Run the benchmarks that are named, or all; return how many failed."""
    folder = Path(__file__).parent
    names = sys.argv[1:] or sorted(path.stem for path in folder.glob("[a-z]*.py"))
    failed = 0
    for name in names:
        print(f"\n=== benchmarks.{name}", flush=True)
        script = [str(folder / "ingest.py")] if name == "ingest" else ["-m", f"benchmarks.{name}"]
        failed += subprocess.run([sys.executable, *script], cwd=folder.parent).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main())
