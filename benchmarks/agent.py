"""A small model under our loop, beside the quotes alone and beside the same model given the same passages bare.

    python -m benchmarks.agent --library FOLDER --rows FILE [--arms extractive ours bare] [--seconds 540]
    python -m benchmarks.agent --rows FILE --report      prints the figures of all rows
    python -m benchmarks.agent --overhead                what our loop costs per step, with a scripted model

Forty of our questions, drawn with a fixed seed. Every answer is a row; a run that was stopped goes on where it ended,
so that it can be done in pieces. `FOLDER` is a library of the 39 papers, as `benchmarks.answers --keep` builds it.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from assistant import prompts
from assistant.agent import Bounds, Manner, Work, gather, work_out
from assistant.answer import Answer
from assistant.assistant import Assistant
from assistant.chat import ChatModel, Message
from assistant.checking import check, says_nothing
from assistant.evaluate import GoldQuestion, holds_answer, judge, read_questions, squash
from assistant.evidence import papers_of
from assistant.metrics import bootstrap_mean, bootstrap_ratio
from benchmarks._machine import describe
from benchmarks.models import QWEN, served_by

QUESTIONS = Path(__file__).with_name("questions.jsonl")
COUNT = 40
SEED = 0
# Looked at while prompts and loop were made: every twelfth of the first 121, and the first 21 of this draw.
TUNED = frozenset(f"q{number:03}" for number in range(1, 122, 12))
LOOKED_AT = 21
PATIENCE_S = 900.0  # the machine may be busy with other work
MANNER = Manner(bounds=Bounds(max_seconds=PATIENCE_S))
ARMS = ("extractive", "ours", "bare", "http")
USUAL = ("extractive", "ours", "bare")
ANSWER = {"en": "Answer:", "ja": "答え:"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", type=Path)
    parser.add_argument("--rows", type=Path)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(USUAL))
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--develop", action="store_true", help="ask as many others, which prompts may be made with")
    parser.add_argument("--seconds", type=float, default=540.0, help="stop after so long; run again to go on")
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--overhead", action="store_true")
    options = parser.parse_args()
    print(describe("xllamacpp", "openai"))
    if options.overhead:
        overhead()
    elif options.report:
        report(options.rows)
    else:
        questions = for_developing(options.count) if options.develop else chosen(options.count)
        run(options.library, options.rows, options.arms, questions=questions, seconds=options.seconds)


def chosen(count: int = COUNT) -> list[GoldQuestion]:
    """Return the questions of the run."""
    return random.Random(SEED).sample(read_questions(QUESTIONS), COUNT)[:count]


def for_developing(count: int = COUNT) -> list[GoldQuestion]:
    """Return questions that are none of those."""
    measured = {gold.id for gold in chosen()}
    others = [gold for gold in read_questions(QUESTIONS) if gold.id not in measured]
    return random.Random(SEED + 1).sample(others, COUNT)[:count]


def run(library: Path, rows: Path, arms: list[str], *, questions: list[GoldQuestion], seconds: float) -> None:
    """Ask what has no row yet, until the time is up."""
    ends = time.monotonic() + seconds
    done = {(row["arm"], row["id"]) for row in read_rows(rows)}
    left = [(arm, gold) for gold in questions for arm in arms if (arm, gold.id) not in done]
    if not left:
        print("every question has its row")
        return
    needed = any(arm != "extractive" for arm, _ in left)
    model = ChatModel.from_spec(f"gguf/{QWEN}", offline=True, timeout_s=PATIENCE_S) if needed else None
    with Assistant(library, keep_journal=False) as quoting:
        asking = askers(quoting, model)
        names = {paper.id: frozenset(path.name for path in paper.paths) for paper in quoting.library.papers()}
        for place, (arm, gold) in enumerate(left):
            if time.monotonic() > ends:
                print(f"time is up; {len(left) - place} are left, run again")
                return
            began = time.process_time()
            answer, missed = asking[arm](gold)
            row = row_of(arm, gold, answer, names, bare_unsupported=missed)
            row["cpu_seconds"] = time.process_time() - began  # llama.cpp computes in this process
            with rows.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
            print(arm, gold.id, f"{answer.seconds:.1f} s", answer.text[:80].replace("\n", " "), flush=True)


Asking = Callable[[GoldQuestion], tuple[Answer, int | None]]


def askers(quoting: Assistant, model: ChatModel | None) -> dict[str, Asking]:
    """Return one function per arm; the HTTP one asks the server of the very model that is loaded."""
    asking: dict[str, Asking] = {"extractive": lambda gold: (quoting.ask(gold.question), None)}
    if model is None:
        return asking
    served = served_by(model, timeout_s=PATIENCE_S)
    for arm, each in (("ours", model), ("http", served)):
        own = Assistant(quoting.library, each, embedder=quoting.embedder, keep_journal=False, manner=MANNER)
        asking[arm] = lambda gold, own=own: (own.ask(gold.question), None)  # type: ignore[misc]
    asking["bare"] = lambda gold: bare(quoting, model, gold)
    return asking


def bare(assistant: Assistant, model: ChatModel, gold: GoldQuestion) -> tuple[Answer, int]:
    """Give the model the passages that our loop gives it, and take what it writes; count what they do not bear out.

    Only the question stands below the passages. Up to there the prompt is the loop's, whose tokens llama.cpp still
    holds where both were asked in turn: `seconds` then leave out the reading.
    """
    began = time.perf_counter()
    found = assistant.find(gold.question)
    sources = gather(assistant.library, found, model, Manner())
    language = found.question.language
    passages = "\n\n".join(source.briefly() for source in sources.all)
    asked = prompts.BRIEF[language].partition("{question}")[0].format(data=prompts.PASSAGES.format(passages=passages))
    messages = [
        Message("system", prompts.BRIEF_SYSTEM[language]),
        Message("user", f"{asked}{gold.question}\n{ANSWER[language]}"),
    ]
    reply = model.chat(messages, max_tokens=600)
    seconds = time.perf_counter() - began
    papers = papers_of(assistant.library, [source.hit for source in sources.all])
    judged = check(reply.text, sources, (), papers, question=gold.question, language=language)
    bad = sum(claim.status == "unsupported" for claim in judged.claims)
    answer = Answer(
        reply.text,
        claims=judged.claims,
        usage=reply.usage.to_json(),
        abstained=says_nothing(reply.text),
        model="bare",
        seconds=seconds,
    )
    return answer, bad


def row_of(
    arm: str, gold: GoldQuestion, answer: Answer, names: dict[str, frozenset[str]], *, bare_unsupported: int | None
) -> dict[str, Any]:
    """Return one answer with how it was judged."""
    text_only = Answer(answer.text, abstained=answer.abstained)
    unsupported = sum(claim.status == "unsupported" for claim in answer.claims)
    return {
        "arm": arm,
        "id": gold.id,
        "question": gold.question,
        "gold": list(gold.answers),
        "answerable": gold.answerable,
        "text": answer.text,
        "scores": judge(gold, answer, names),
        "in_text": float(holds_answer(text_only, gold.answers)) if gold.answerable else None,
        "words": len(squash(answer.text)),
        "claims": len(answer.claims),
        "unsupported": unsupported if bare_unsupported is None else bare_unsupported,
        "abstained": answer.abstained,
        "quoted": any(step["step"] == "quoted" for step in answer.trace),
        "instead_of": [step["instead_of"] for step in answer.trace if step["step"] == "quoted"],
        "seconds": answer.seconds,
        "usage": dict(answer.usage),
        "cited": [[c.title, c.page, c.status, c.quote] for c in answer.citations],
    }


def read_rows(file: Path) -> list[dict[str, Any]]:
    """Return the rows so far."""
    if not file.is_file():
        return []
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def report(file: Path) -> None:
    """Print the figures of every arm, and again of the questions that nobody had looked at."""
    rows = read_rows(file)
    seen = TUNED | {gold.id for gold in chosen(LOOKED_AT)}
    for part, kept in (("all", rows), ("not seen before", [row for row in rows if row["id"] not in seen])):
        for arm in ARMS:
            of_arm = [row for row in kept if row["arm"] == arm]
            if of_arm:
                answerable = sum(row["answerable"] for row in of_arm)
                print(f"\n{arm}, {part} (n={len(of_arm)}, of which {answerable} answerable)")
                for name, values in figures(of_arm).items():
                    print(f"  {name:<34} {values}")


def figures(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the figures of one arm, with their intervals."""
    answerable = [row for row in rows if row["answerable"]]
    seconds = sorted(row["seconds"] for row in rows)
    abstained = [float(row["abstained"]) for row in rows]
    right = [float(not row["answerable"]) for row in rows]
    column = {
        name: [row["scores"][name] for row in answerable if row["scores"].get(name) is not None]
        for name in ("answer_found", "right_paper", "right_page", "right_paper@1", "right_page@1")
    }
    return {
        "gold answer in the text": bootstrap_mean([row["in_text"] for row in answerable], seed=SEED),
        **{
            name.replace("answer_found", "gold answer in text or quotes"): bootstrap_mean(values, seed=SEED)
            for name, values in column.items()
            if values
        },
        "unsupported of all sentences": bootstrap_ratio(
            [float(row["unsupported"]) for row in rows], [float(row["claims"]) for row in rows], seed=SEED
        ),
        "abstained on unanswerable": bootstrap_mean([a for a, r in zip(abstained, right, strict=True) if r], seed=SEED),
        "abstained on answerable": bootstrap_mean(
            [a for a, r in zip(abstained, right, strict=True) if not r], seed=SEED
        ),
        "quotes in place of the model's text": sum(row.get("quoted", False) for row in rows),
        "characters per answer (median)": statistics.median(row["words"] for row in rows),
        "seconds (median, p90)": f"{statistics.median(seconds):.1f}, {seconds[int(0.9 * len(seconds))]:.1f}",
        "processor seconds (median)": f"{statistics.median(row.get('cpu_seconds', 0.0) for row in rows):.1f}",
    }


def overhead(steps: int = 30) -> None:
    """Print what everything but the model and the embedder takes, per step of the tool loop."""
    from assistant.demo import run_demo

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "demo"
        run_demo(folder)
        seconds = []
        for _ in range(steps):
            calls = [{"tool_calls": [{"name": "calculator", "arguments": {"expression": f"{n}+1"}}]} for n in range(6)]
            model = ChatModel.scripted([*calls, "The theoretical capacity of LiFePO4 is 170 mAh g−1 [1]."])
            with Assistant(folder, model, keep_journal=False) as assistant:
                found = assistant.find("What is the theoretical capacity of LiFePO4?")
                began = time.perf_counter()
                sources = gather(assistant.library, found, model, Manner())
                for _ in work_out(Work(model, found, sources, assistant.tools, Manner())):
                    pass
                seconds.append((time.perf_counter() - began) / 7)
        print(
            f"agent: {statistics.median(seconds) * 1e3:.1f} ms per step (median of {steps} runs of 7 steps, "
            f"p95 {sorted(seconds)[int(0.95 * steps)] * 1e3:.1f} ms): prompt, tool call, events, and the claim check"
        )


if __name__ == "__main__":
    main()
