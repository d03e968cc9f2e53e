"""Records of materials and the tools, against their promises: import, resume, search; every CIF; the calculator.

    python -m benchmarks.materials ../shared/data --part import --library /tmp/bench-materials
    python -m benchmarks.materials ../shared/data --part vectors --part search --library /tmp/bench-materials
    python -m benchmarks.materials ../shared/data --part tools

`import` brings in the 105,133 band-gap records without vectors, is killed (SIGKILL) on the way, and goes on; `vectors`
embeds and imports the same records in turns, so that the ratio holds on a machine that others use too; `search` times
filters on what `import` left. Beside the time on the clock stands the processor's, of all processes.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import psutil

from benchmarks._machine import describe
from ingest.embed import make_embedder
from ingest.library import Library
from ingest.materials import parse_records, search, to_chunk
from ingest.materials.importing import import_materials

EXPRESSIONS = Path(__file__).with_name("expressions.json")  # question id -> our expression for its answer
RECORDS = "bandgap/mp_bandgap.jsonl.gz"
PARTS = ("import", "vectors", "search", "tools")
KILLED_AT = 0.3  # of the records
ROUNDS = 3
EMBEDDED = (
    10_000  # records a round, some forty seconds: what an import pays once (a process, the last batch) counts little
)
SEARCHES = {  # three filters each, from the rare to the common
    "Li-O, stable, gap 1 to 3 eV": {"chemsys": "Li-O", "e_above_hull_ev_per_atom": (None, 0), "band_gap_ev": (1, 3)},
    "with Li and P, gap above 2 eV, hull below 50 meV": {
        "elements": ["Li", "P"],
        "band_gap_ev": (2, None),
        "e_above_hull_ev_per_atom": (None, 0.05),
    },
    "with O, without Fe, cubic": {"elements": ["O"], "without": ["Fe"], "crystal_system": "cubic"},
    "O and three elements and gap 1 to 3 eV": {"elements": ["O"], "nelements": (3, 3), "band_gap_ev": (1, 3)},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder of shared data")
    parser.add_argument("--part", action="append", choices=PARTS)
    parser.add_argument("--library", type=Path, help="folder that `import` fills and `search` reads")
    arguments = parser.parse_args()
    parts = arguments.part or PARTS
    print(describe("chromadb", "onnxruntime", "pymatgen", "pint"), f"load {os.getloadavg()[0]:.1f}", flush=True)
    with tempfile.TemporaryDirectory(prefix="matlit-bench-") as temporary:
        library = arguments.library or Path(temporary) / "library"
        if "import" in parts:
            measure_import(arguments.data / RECORDS, library)
        if "vectors" in parts:
            measure_vectors(arguments.data / RECORDS, Path(temporary))
        if "search" in parts:
            measure_search(library)
        if "tools" in parts:
            run_every_cif(arguments.data / "cif")
            run_expressions(arguments.data / "qa" / "mascqa_numeric.jsonl")


# --- import -----------------------------------------------------------------------------------------------------------


def measure_import(records: Path, folder: Path) -> None:
    """Import everything by the command line, killed once on the way; print rates, memory and what was kept."""
    command = [sys.executable, "-m", "ui", "--library", str(folder), "--json", "materials", "import", str(records)]
    total = sum(1 for _ in parse_records(records))
    first = Watched([*command, "--no-vectors"])
    while held(folder) < KILLED_AT * total and first.process.poll() is None:
        time.sleep(0.2)
    kept, seconds, cpu = held(folder), first.seconds, first.cpu_seconds()
    first.kill()
    print(f"killed at {held(folder):,} of {total:,} records: {kept / seconds:,.0f} records/s, start included; "
          f"{1e3 * cpu / max(kept, 1):.2f} ms of processor a record")  # fmt: skip
    second = Watched([*command, "--no-vectors"])
    report = json.loads(second.wait())
    new = report["added"]
    print(f"resumed: {report['unchanged']:,} unchanged, {new:,} added, {report['failures']} failed, "
          f"{report['materials']:,} held; {report['seconds']:.1f} s, {total / report['seconds']:,.0f} records/s; "
          f"{second.total_cpu_s:.0f} s of processor; most memory {second.most_mb:,.0f} MB in all")  # fmt: skip
    with Library.open(folder) as library:
        print("verify:", "sound" if library.verify().clean else library.verify().problems)


class Watched:
    """A process whose memory and processor time, with those of its children, are watched."""

    def __init__(self, command: list[str]) -> None:
        self.begun = time.monotonic()
        self.before = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
        self.most_mb = 0.0
        self.total_cpu_s = 0.0
        self.watcher = threading.Thread(target=self._watch, daemon=True)
        self.watcher.start()

    @property
    def seconds(self) -> float:
        """Return how long it has been running."""
        return time.monotonic() - self.begun

    def cpu_seconds(self) -> float:
        """Return the processor time that it and its children have used."""
        times = [each.cpu_times() for each in self._family()]
        return sum(each.user + each.system for each in times)

    def wait(self) -> str:
        """Return what it printed, once it has ended."""
        text = self.process.communicate()[0].decode()
        now = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.total_cpu_s = now.ru_utime + now.ru_stime - self.before.ru_utime - self.before.ru_stime
        return text

    def kill(self) -> None:
        """Kill it as a power cut would (SIGKILL)."""
        family = self._family()
        self.process.kill()
        self.process.wait()
        for each in family[1:]:  # its workers notice by themselves; they are ours, so that nothing is left behind
            if each.is_running():
                each.kill()

    def _family(self) -> list[psutil.Process]:
        try:
            parent = psutil.Process(self.process.pid)
            return [parent, *parent.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def _watch(self) -> None:
        while self.process.poll() is None:
            self.most_mb = max(self.most_mb, sum(_rss_mb(each) for each in self._family()))
            time.sleep(0.2)


def _rss_mb(process: psutil.Process) -> float:
    try:
        return process.memory_info().rss / 2**20
    except psutil.NoSuchProcess:
        return 0.0


def held(folder: Path) -> int:
    if not (folder / "library.toml").exists():
        return 0
    with Library.open(folder) as library, library.reading() as connection:
        return int(connection.execute("SELECT count(*) FROM materials").fetchone()[0])


# --- vectors ----------------------------------------------------------------------------------------------------------


def measure_vectors(records: Path, folder: Path) -> None:
    """Embed records and import others like them in turns; print the ratio of the speeds."""
    embedder = make_embedder("all-MiniLM-L6-v2")
    embedder.embed_documents(["warm"])
    batches = slices(records)
    ratios, speeds = [], []
    with Library.create(folder / "vectors", embedder=embedder.info, recipe="benchmark") as library:
        import_materials(library, [write(folder, next(batches)[:600])], embedder=embedder)  # Chroma is opened
        for _ in range(ROUNDS):
            lines = next(batches)
            path = write(folder, lines)
            texts = [to_chunk(material, "benchmark").embedded_text for material in parse_records(path)]
            begun = time.monotonic()
            embedder.embed_documents(texts)
            alone = time.monotonic() - begun
            begun = time.monotonic()
            import_materials(library, [path], embedder=embedder, workers=os.cpu_count() or 1)
            imported = time.monotonic() - begun
            ratios.append(alone / imported)
            speeds.append(len(texts) / alone)
    low, high = interval(ratios)
    print(f"import with vectors at {100 * statistics.mean(ratios):.1f} % of the embedder's own speed "
          f"({100 * low:.1f} to {100 * high:.1f}; {ROUNDS} rounds of {EMBEDDED} records in turns; "
          f"embedder {statistics.mean(speeds):.0f} records/s)")  # fmt: skip


def slices(records: Path) -> Iterator[list[str]]:
    import gzip

    with gzip.open(records, "rt", encoding="utf-8") as file:
        while lines := list(islice(file, EMBEDDED)):
            yield lines


def write(folder: Path, lines: list[str]) -> Path:
    path = folder / "part.jsonl"
    path.write_text("".join(lines), encoding="utf-8")
    return path


def interval(values: list[float], *, seed: int = 0, rounds: int = 2000) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the mean."""
    draw = random.Random(seed)
    means = sorted(statistics.mean(draw.choices(values, k=len(values))) for _ in range(rounds))
    return means[int(0.025 * rounds)], means[int(0.975 * rounds)]


# --- search -----------------------------------------------------------------------------------------------------------


def measure_search(folder: Path) -> None:
    """Time searches with three filters as `matlit materials search` runs them: the records, and how many fit."""
    from ingest.materials import MaterialFilter

    with Library.open(folder) as library, library.reading() as connection:
        total = library.status()["materials"]
        for name, filters in SEARCHES.items():
            where = MaterialFilter(**filters)  # type: ignore[arg-type]
            times = []
            for _ in range(30):
                begun, cpu = time.perf_counter(), time.process_time()
                found, matching = search(connection, where, limit=20)
                times.append((time.perf_counter() - begun, time.process_time() - cpu))
            clock, processor = (sorted(column) for column in zip(*times, strict=True))
            print(f"search of {total:,}: {name}: {matching:,} fit, {len(found)} returned; "
                  f"{1e3 * statistics.median(clock):.1f} ms median, {1e3 * clock[28]:.1f} ms at 95 %; "
                  f"{1e3 * statistics.median(processor):.1f} ms of processor")  # fmt: skip


# --- tools ------------------------------------------------------------------------------------------------------------


def run_every_cif(folder: Path) -> None:
    """Run every task of the structure tool on every CIF; print how many were answered, refused, and the slowest."""
    from assistant.tools import ToolContext, builtin_tools, call  # not above: worker processes read this file too

    files = sorted(folder.glob("*.cif"))
    attached = {file.name: file.read_bytes().decode("utf-8", "replace") for file in files}
    tool = builtin_tools(ToolContext(attachments=attached))["structure"]
    for task in ("summary", "sites", "neighbours", "xrd", "oxidation_states"):
        results = [call(tool, {"structure": file.name, "task": task}) for file in files]
        answered = sum(result.result is not None for result in results)
        crashed = [result.error for result in results if result.error and " failed: " in result.error]
        late = [result.error for result in results if result.error and "took longer" in result.error]
        slowest = max(each.seconds for each in results)
        print(f"structure {task}: {answered} of {len(files)} answered, {len(files) - answered} refused with a reason, "
              f"{len(crashed)} failed, {len(late)} late; slowest {slowest:.1f} s")  # fmt: skip
        for error in crashed:
            print("  ", error)


def run_expressions(questions: Path) -> None:
    """Work out our expression for each question, and compare with the answer or the range that the set gives."""
    from assistant.tools.calculator import calculate

    expressions: dict[str, str] = json.loads(EXPRESSIONS.read_text(encoding="utf-8"))
    answers = {row["id"]: row["answer"] for row in map(json.loads, questions.read_text(encoding="utf-8").splitlines())}
    wrong = []
    slowest = 0.0
    for identity, expression in expressions.items():
        begun = time.perf_counter()
        value = calculate(expression).value
        slowest = max(slowest, time.perf_counter() - begun)
        low, high = bounds(str(answers[identity]))
        if not low <= value <= high:
            wrong.append(f"{identity}: {value:.6g}, not {low:g} to {high:g}")
    print(f"calculator: {len(expressions) - len(wrong)} of {len(expressions)} right within the given range; "
          f"slowest {1e3 * slowest:.0f} ms")  # fmt: skip
    for each in wrong:
        print("  ", each)


def bounds(answer: str) -> tuple[float, float]:
    """Return the range of an answer such as "0.45 TO 0.48" or "1.2 : 1.3"; a single number counts within 1 %."""
    numbers = [float(word) for word in re.findall(r"-?\d+\.?\d*(?:[eE][+-]?\d+)?", answer)]
    if len(numbers) == 2 and numbers[0] != numbers[1]:
        return min(numbers), max(numbers)
    return numbers[0] - 0.01 * abs(numbers[0]), numbers[0] + 0.01 * abs(numbers[0])


if __name__ == "__main__":
    main()
