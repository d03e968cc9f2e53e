"""A small model that chooses its tools itself, step by step, beside the planner that chooses them by rules.

    python -m benchmarks.steps --library FOLDER --build           makes the library: 39 papers, 105,133 records
    python -m benchmarks.steps --library FOLDER --rows FILE [--arms planner gguf http] [--seconds 540]
    python -m benchmarks.steps --rows FILE --report               prints the figures of all rows

`gguf` asks the model in this process, `http` the server of the same model through the openai client; the two take turns
in going first, since the second finds the prompt read already. Every answer is a row; a run that was stopped goes on
where it ended. Prompts were made with other questions of the same kinds; seven of these were put to the planner before,
to find what is right.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from assistant import prompts
from assistant.agent import Bounds, Manner
from assistant.answer import Answer
from assistant.assistant import Assistant
from assistant.chat import ChatModel
from assistant.metrics import SEED, bootstrap_mean, bootstrap_ratio
from benchmarks._machine import describe
from benchmarks.agent import read_rows
from benchmarks.models import QWEN, served_by
from ingest.library import Library
from ingest.materials.importing import import_materials
from ingest.pipeline import ingest

DATA = Path(__file__).parents[2] / "shared" / "data"
PATIENCE_S = 900.0  # the machine may be busy with other work
MANNER = Manner(loop="tools", bounds=Bounds(max_seconds=PATIENCE_S))
ARMS = ("planner", "gguf", "http")


@dataclass(frozen=True, slots=True)
class Case:
    """A question, the tools of which one is right, and what its answer holds: one string of each group.

    Without groups it cannot be answered from here.
    """

    question: str
    tools: tuple[str, ...]
    holds: tuple[tuple[str, ...], ...]
    attached: str = ""


LOOKED_UP = ("materials", "structure")  # both tell density and symmetry of a record
CASES = (
    Case("Convert 1.9 eV to a wavelength in nm.", ("calculator",), (("652.5",),)),
    Case("What is the thermal energy k*T at 300 K in meV?", ("calculator",), (("25.85", "25.9"),)),
    Case("How many moles are 5 g of LiFePO4?", ("calculator",), (("0.0317", "0.03169", "31.69"),)),
    Case("What is 5 GPa in kbar?", ("calculator",), (("50 kbar", "50.0 kbar"),)),
    Case("What is the band gap of mp-149?", ("materials",), (("0.61",),)),
    Case("What is the density of mp-22862?", LOOKED_UP, (("2.22",),)),
    Case("Which polymorph of TiO2 has the largest band gap?", ("materials",), (("mp-553432",),)),
    Case("Which stable Al-N compounds have a band gap between 3 and 5 eV?", ("materials",), (("mp-661",),)),
    Case("Which Zn-O compounds have a band gap above 1 eV?", ("materials",), (("ZnO2",), ("mp-8484", "2.127"))),
    Case("What is the space group of the attached structure?", ("structure",), (("Pnma",),), "pmg_LiFePO4.cif"),
    Case("What is the density of the attached structure?", ("structure",), (("2.28",),), "emmet_Si_mp_149.cif"),
    Case(
        "What is the coordination number of Cu in the attached structure?",
        ("structure",),
        (("coordination number 4", "number of Cu in the attached structure is 4", "4 Cl", "CN 4"),),
        "pmg_CuCl.cif",
    ),
    Case("3.5 eVのエネルギーに対応する光の波長は何nmですか。", ("calculator",), (("354.2",),)),
    Case("mp-149の空間群は何ですか。", LOOKED_UP, (("Fd-3m",),)),
    Case("What discharge product forms in a hybrid Na-air cell?", ("", "papers"), (("NaOH", "sodium hydroxide"),)),
    Case(
        "Which assumption of modulated DSC is usually violated because the sample is heated all the time?",
        ("", "papers"),
        (("steady-state", "steady state", "equilibrium"),),
    ),
    Case(
        "How much titanium alloying brings the band gap of BaZrS3 down to 1.51 eV, and which wavelength in nm is that?",
        ("calculator",),
        (("0.04", "4%", "4 %", "4 at"), ("821",)),
    ),
    Case("What is the melting point of the alloy Xy-77?", ("", "papers", "materials"), ()),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", type=Path)
    parser.add_argument("--rows", type=Path)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--seconds", type=float, default=540.0, help="stop after so long; run again to go on")
    parser.add_argument("--build", action="store_true")
    parser.add_argument("--report", action="store_true")
    options = parser.parse_args()
    print(describe("xllamacpp", "openai"))
    if options.build:
        build(options.library)
    elif options.report:
        report(options.rows)
    else:
        run(options.library, options.rows, options.arms, seconds=options.seconds)


def build(folder: Path) -> None:
    """Bring papers and records into the library, the records without vectors."""
    for event in ingest([DATA / "papers"], library=folder):
        print(event, flush=True)
    with Library.open(folder) as library:
        print(import_materials(library, [DATA / "bandgap" / "mp_bandgap.jsonl.gz"], workers=2))


def run(library: Path, rows: Path, arms: list[str], *, seconds: float) -> None:
    """Ask what has no row yet, until the time is up."""
    ends = time.monotonic() + seconds
    done = {(row["arm"], row["question"]) for row in read_rows(rows)}
    left = [(arm, case) for arm, case in turns(arms) if (arm, case.question) not in done]
    if not left:
        print("every question has its row")
        return
    with Assistant(library, keep_journal=False) as planner:
        assistants = {"planner": planner, **by_model(planner, {arm for arm, _ in left} - {"planner"})}
        for place, (arm, case) in enumerate(left):
            if time.monotonic() > ends:
                print(f"time is up; {len(left) - place} are left, run again")
                return
            began = time.process_time()
            attached = [DATA / "cif" / case.attached] if case.attached else []
            answer = assistants[arm].ask(case.question, attachments=attached)
            row = {**row_of(arm, case, answer), "cpu_seconds": time.process_time() - began}
            with rows.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
            print(arm, f"{answer.seconds:.1f} s", case.question, "->", " ".join(answer.text.split())[:120], flush=True)


def turns(arms: list[str]) -> Iterator[tuple[str, Case]]:
    """Yield every arm with every question; which of the model's arms goes first changes from question to question."""
    for place, case in enumerate(CASES):
        yield from ((arm, case) for arm in (arms if place % 2 == 0 else arms[::-1]))


def by_model(planner: Assistant, arms: set[str]) -> dict[str, Assistant]:
    """Return assistants whose model chooses its tools, in this process and through its server."""
    if not arms:
        return {}
    model = ChatModel.from_spec(f"gguf/{QWEN}", offline=True, timeout_s=PATIENCE_S)
    models = {"gguf": model, "http": served_by(model, timeout_s=PATIENCE_S)}
    return {
        arm: Assistant(planner.library, models[arm], embedder=planner.embedder, keep_journal=False, manner=MANNER)
        for arm in arms
    }


def row_of(arm: str, case: Case, answer: Answer) -> dict[str, Any]:
    """Return one answer with how it was judged."""
    called = [str(one["name"]) for one in answer.tool_calls]
    language: prompts.Language = "ja" if not case.question.isascii() else "en"
    held = all(any(one in answer.text for one in group) for group in case.holds)
    return {
        "arm": arm,
        "question": case.question,
        "text": answer.text,
        "calls": [[one["name"], one["arguments"], one.get("error")] for one in answer.tool_calls],
        "right_tool": float(any(name in case.tools for name in called) if called else "" in case.tools),
        "right": float(held if case.holds else answer.abstained),
        "answerable": bool(case.holds),
        "tools_own_words": prompts.COMPUTED[language] in answer.text,
        "objected": any(step["step"] == "objection" for step in answer.trace),
        "claims": len(answer.claims),
        "unsupported": sum(claim.status == "unsupported" for claim in answer.claims),
        "abstained": answer.abstained,
        "steps": answer.usage.get("calls", 0),
        "usage": dict(answer.usage),
        "seconds": answer.seconds,
    }


def report(file: Path) -> None:
    """Print the figures of every arm, and every answer that is not right."""
    rows = read_rows(file)
    for arm in ARMS:
        of_arm = [row for row in rows if row["arm"] == arm]
        if not of_arm:
            continue
        print(f"\n{arm} (n={len(of_arm)})")
        for name, value in figures(of_arm).items():
            print(f"  {name:<42} {value}")
        for row in of_arm:
            if not row["right"] or not row["right_tool"]:
                calls = json.dumps(row["calls"], ensure_ascii=False)
                print(f"    not right: {row['question']} -> {calls[:160]} -> {' '.join(row['text'].split())[:160]!r}")


def figures(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the figures of one arm, with their intervals."""
    seconds = sorted(row["seconds"] for row in rows)
    read = [row["usage"].get("input_tokens", 0) - row["usage"].get("cached_tokens", 0) for row in rows]
    return {
        "a right tool called (or rightly none)": bootstrap_mean([row["right_tool"] for row in rows], seed=SEED),
        "right answer": bootstrap_mean([row["right"] for row in rows], seed=SEED),
        "  of which in the tool's own words": sum(bool(row["right"] and row["tools_own_words"]) for row in rows),
        "unsupported of all sentences, marked": bootstrap_ratio(
            [float(row["unsupported"]) for row in rows], [float(row["claims"]) for row in rows], seed=SEED
        ),
        "answers objected to once": sum(row["objected"] for row in rows),
        "steps (median, most)": f"{statistics.median(row['steps'] for row in rows)}, {max(r['steps'] for r in rows)}",
        "tokens read anew (median, first)": f"{statistics.median(read):.0f}, {next(islice(read, 1))}",
        "seconds (median, p90)": f"{statistics.median(seconds):.1f}, {seconds[int(0.9 * len(seconds))]:.1f}",
        "processor seconds (median)": f"{statistics.median(row['cpu_seconds'] for row in rows):.1f}",
    }


if __name__ == "__main__":
    main()
