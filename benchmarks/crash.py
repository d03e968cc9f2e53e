"""Kill -9 an ingest at random moments, run it again, and compare with one that was never interrupted.

    python -m benchmarks.crash                     20 kills over the twelve smallest papers, hashing embedder
    python -m benchmarks.crash --papers 39 --model all-MiniLM-L6-v2
    python -m benchmarks.crash --papers 39 --model all-MiniLM-L6-v2 --first 8 --kills 6     the 8th to 13th of them

Each trial starts with an empty folder and is killed in the middle of the work: after a number of papers drawn evenly
from all but the last, plus up to MOMENT_S seconds, so that a busy machine moves no kill to the beginning or beyond the
end. It is then run to its end. It passes when readers saw whole papers only right after the kill, the chunk ids
afterwards equal those of the uninterrupted run, and `verify` finds nothing. The hashing embedder makes writing a larger
part of the run. "rebuilt" counts how often Chroma was found broken and built anew from the catalogue.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks._machine import describe

ROOT = Path(__file__).resolve().parents[1]
PAPERS = ROOT.parent / "shared" / "data" / "papers"
MOMENT_S = 1.5

INGEST = """
import logging, sys
from pathlib import Path
from ingest.pipeline import Added, ingest
from ingest.settings import EmbeddingSettings, Settings
logging.basicConfig(level=logging.WARNING)
settings = Settings(embedding=EmbeddingSettings(model=sys.argv[3]))
for event in ingest([sys.argv[1]], settings=settings, library=Path(sys.argv[2])):
    if isinstance(event, Added):
        print("added", flush=True)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--first", type=int, default=1, help="number of the first kill, to go on with a series")
    parser.add_argument("--papers", type=int, default=12, help="the so many smallest papers")
    parser.add_argument("--model", default="hashing")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(describe("chromadb"))
    print("|".join(f"{name}={value}" for name, value in vars(arguments).items()), flush=True)
    work = Path(tempfile.mkdtemp(prefix="matlit-crash-"))
    try:
        failures = trials(arguments, work)
    finally:
        shutil.rmtree(work)
    raise SystemExit(1 if failures else 0)


def trials(arguments: argparse.Namespace, work: Path) -> int:
    folder = work / "papers"
    folder.mkdir()
    for paper in sorted(PAPERS.glob("*.pdf"), key=lambda path: path.stat().st_size)[: arguments.papers]:
        (folder / paper.name).symlink_to(paper)
    started = time.monotonic()
    finish(folder, work / "whole", arguments.model)
    seconds = time.monotonic() - started
    expected = contents(work / "whole")
    print(
        f"uninterrupted: {seconds:.1f} s, {len(expected)} papers, {sum(map(len, expected.values()))} chunks", flush=True
    )
    dice = random.Random(arguments.seed)
    moments = [(dice.randrange(len(expected)), dice.uniform(0, MOMENT_S)) for _ in range(1000)]
    failures = rebuilt = midway = 0
    for number in range(arguments.first, arguments.first + arguments.kills):
        library = work / f"killed-{number}"
        papers, delay = moments[number - 1]
        midway += kill(folder, library, arguments.model, papers=papers, delay_s=delay)
        seen = contents(library)
        said = finish(folder, library, arguments.model)
        problems = judge(seen, library, expected)
        rebuilt += "rebuilding" in said
        failures += bool(problems)
        print(
            f"{number:3} killed {delay:.2f} s after {papers} papers, {len(seen)} there: {problems or 'well'}",
            flush=True,
        )
        shutil.rmtree(library)
    print(f"{midway} of {arguments.kills} killed while at work; failed {failures}; Chroma rebuilt {rebuilt} times")
    return failures


def kill(folder: Path, library: Path, model: str, *, papers: int, delay_s: float) -> bool:
    """Start an ingest and kill it some time after it added so many papers; return whether it was still at work."""
    process = start(folder, library, model)
    for _ in range(papers):
        process.stdout.readline()
    try:
        process.wait(timeout=delay_s)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


def finish(folder: Path, library: Path, model: str) -> str:
    """Run an ingest to its end and return what it said on stderr."""
    process = start(folder, library, model)
    _, said = process.communicate()
    if process.returncode:
        raise SystemExit(f"the ingest failed:\n{said}")
    return said


def start(folder: Path, library: Path, model: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", INGEST, str(folder), str(library), model]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def contents(path: Path) -> dict[str, list[str]]:
    """Return the chunk ids of every paper that a reader sees."""
    from ingest.errors import LibraryNotFound
    from ingest.library import Library

    try:
        library = Library.open(path)
    except LibraryNotFound:
        return {}
    with library:
        return {paper.id: [chunk.id for chunk in library.chunks_of(paper.id)] for paper in library.papers()}


def judge(seen: dict[str, list[str]], path: Path, expected: dict[str, list[str]]) -> str:
    """Return what is wrong after a trial, "" for nothing."""
    from ingest.library import Library

    problems = []
    if not seen.items() <= expected.items():
        problems.append("a reader saw half a paper")
    if contents(path) != expected:
        problems.append("the chunk ids differ")
    with Library.open(path) as library:
        problems.extend(library.verify().problems)
    return "; ".join(problems)


if __name__ == "__main__":
    main()
