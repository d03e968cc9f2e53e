"""Fine-tuning SmolLM2-135M on real band gap rows, on a CPU: what it learns, what it costs, what it survives.

    python -m benchmarks.finetune WORK render       rendering speed with space groups, and memory
    python -m benchmarks.finetune WORK rows         60,000 records, split by formula
    python -m benchmarks.finetune WORK train        LoRA, one piece of at most --minutes; again to go on
    python -m benchmarks.finetune WORK batched      the tuned model on 300 test rows; zero, five: the untuned one
    python -m benchmarks.finetune WORK single       the first 40 of them asked one by one, as the tutorial does
    python -m benchmarks.finetune WORK report       errors beside the mean's
    python -m benchmarks.finetune WORK methods      prefix and prompt tuning: falling loss, the same after loading
    python -m benchmarks.finetune WORK overhead     a step of ours against a bare PyTorch loop
    python -m benchmarks.finetune WORK kill         kill -9 in the middle, resume, compare
    python -m benchmarks.finetune WORK disk         a disk that fills up at a checkpoint (needs root, for a tmpfs)

Without a step: all of them. Times are also given in CPU seconds, which a busy machine does not change much.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import re
import resource
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks._machine import describe
from finetune.dataset import Choices, prepare, read_split
from finetune.models import default_device, has_bf16
from finetune.recipe import Recipe, make_recipe
from finetune.runs import checkpoints, read_metrics, read_run
from finetune.sources import Source, read_usable
from finetune.texts import default_cache
from finetune.train import DiskFull, adapted, train
from ingest.structure_text import render

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "bandgap" / "mp_bandgap.jsonl.gz"
BASE = "smollm2"
STYLE = "words"
TEST = 300
QUESTION = "What is the PBE band gap of this crystal in eV? Answer with one number only.\n\n"
RENDERED = 4000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("steps", nargs="*", choices=[*STEPS, []])
    parser.add_argument("--minutes", type=float, default=9.5, help="of one piece of training")
    parser.add_argument("--threads", type=int, default=0)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    print(describe("torch", "transformers", "peft", "trl"), flush=True)
    if given.threads:
        import torch

        torch.set_num_threads(given.threads)
    for name in given.steps or STEPS:
        STEPS[name](given)


# --- data -------------------------------------------------------------------------------------------------------------


def rendering(given: argparse.Namespace) -> None:
    crystals = []
    for usable in read_usable(Source((DATA,)).materials(print), targets=("band_gap",), report=print):
        crystals.append(usable.crystal)
        if len(crystals) == 4 * RENDERED:
            break
    crystals = crystals[::4]
    process = psutil.Process()
    list(render(crystals[:200], style="tutorial"))
    before = process.memory_info().rss
    begin, peak, spent = time.perf_counter(), 0, _children_cpu()
    for _ in render(crystals, style="tutorial"):
        peak = max(peak, process.memory_info().rss)
    seconds, cpu = time.perf_counter() - begin, _children_cpu() - spent
    print(
        f"render: {RENDERED} structures (every fourth of the first {4 * RENDERED}), tutorial text with space groups: "
        f"{RENDERED / seconds:.0f}/s wall on {os.cpu_count()} processes at load {os.getloadavg()[0]:.0f}, "
        f"{RENDERED / cpu:.0f} per CPU second; memory of the parent grew by {(peak - before) / 2**20:.0f} MiB"
    )


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def rows(given: argparse.Namespace) -> None:
    folder = given.work / "rows"
    if not (folder / "card.json").is_file():
        choices = Choices(style=STYLE, split="formula", limit=60000, validation=1000, test=TEST, seed=0)
        prepare(Source((DATA,)), folder, choices, cache=default_cache())
    print((folder / "card.md").read_text())


# --- learning ---------------------------------------------------------------------------------------------------------


def recipe(**changes: Any) -> Recipe:
    flags: dict[str, Any] = {
        "epochs": 1,
        "limit": 28800,
        "validation_rows": 300,
        "eval_steps": 300,
        "save_steps": 100,
    }
    return make_recipe("small", flags=flags | changes).for_machine(default_device(), bf16=has_bf16())


def training(given: argparse.Namespace) -> None:
    run = train(given.work / "rows", given.work / "lora", recipe(), report=print, minutes=given.minutes)
    print(f"train: {run.status} at step {run.step} of {run.steps}; {dict(run.results)}")
    print("recipe:", json.dumps(asdict(recipe())))


def answers(kind: str) -> Any:
    """Return the step that has the test rows answered in one way, in pieces: what is there is not asked again."""

    def step(given: argparse.Namespace) -> None:
        path = given.work / f"{kind}.json"
        known: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
        test = read_split(given.work / "rows", "test")[: 40 if kind == "single" else TEST]
        left = [row for row in test if row["id"] not in known]
        if not left:
            return
        tuned = kind in ("single", "batched")
        model = _load(given.work / "lora" if tuned else None)
        shots = read_split(given.work / "rows", "train", limit=5)
        prompts = [_prompt(kind, row, shots, model.tokenizer) for row in left]
        model.write(prompts[:2])  # warm
        cpu, wall = time.process_time(), time.perf_counter()
        size = 1 if kind == "single" else TEST if kind == "batched" else 60
        for at in range(0, len(left), size):
            for row, one in zip(left[at : at + size], model.write(prompts[at : at + size]), strict=True):
                known[row["id"]] = {"text": one.text, "value": None if math.isnan(one.value) else one.value}
            path.write_text(json.dumps(known, indent=1))
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        print(
            f"{kind}: {len(left)} rows in {wall:.1f} s, {cpu:.1f} CPU s: "
            f"{1000 * wall / len(left):.0f} ms wall, {1000 * cpu / len(left):.0f} ms CPU per row"
        )

    return step


def _load(run: Path | None) -> Any:
    """Return the tuned model, of the last checkpoint where training was not finished; without a run the untuned one."""
    from finetune.generate import load_generator

    if run is None:
        return load_generator(BASE, style=STYLE)
    if (state := read_run(run)).status == "finished":
        return load_generator(run)
    last = checkpoints(run)[-1]
    print(f"training stands at step {state.step} of {state.steps}: asking {last.name}")
    return load_generator(last, base=BASE, style=STYLE)


def _prompt(kind: str, row: dict[str, Any], shots: list[dict[str, Any]], tokenizer: Any) -> str:
    if kind == "zero":
        turn = [{"role": "user", "content": QUESTION + row["text"]}]
        return str(tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True))
    if kind == "five":
        return "".join(f"{shot['prompt']}{shot['completion']}\n\n" for shot in shots) + row["prompt"]
    return str(row["prompt"])


def report(given: argparse.Namespace) -> None:
    test = read_split(given.work / "rows", "test")[:TEST]
    truth = np.array([row["value"] for row in test])
    known = read_split(given.work / "rows", "train")
    mean = float(np.mean([row["value"] for row in known]))
    print(f"report: n = {len(test)} test rows of unseen formulas, seed 0; bootstrap of 1,000 draws")
    _line("mean of the training rows", truth, np.full(len(test), mean))
    _line("median of the training rows", truth, np.full(len(test), float(np.median([row["value"] for row in known]))))
    for kind in ("zero", "five", "batched"):
        path = given.work / f"{kind}.json"
        if path.is_file():
            found = json.loads(path.read_text())
            texts = [found[row["id"]]["text"] for row in test]
            strict = [found[row["id"]]["value"] for row in test]
            _line(f"{kind}, read strictly", truth, np.array([math.nan if one is None else one for one in strict]))
            if kind != "batched":
                _line(f"{kind}, first number in the text", truth, np.array([_first_number(text) for text in texts]))


def _first_number(text: str) -> float:
    found = re.search(r"\d+(?:\.\d+)?", text)
    value = float(found.group()) if found else math.nan
    return value if value < 1e4 else math.nan


def _line(name: str, truth: Any, guess: Any) -> None:
    valid = np.isfinite(guess)
    invalid = int((~valid).sum())
    if not valid.any():
        print(f"  {name:<34} no valid answer of {len(truth)}")
        return
    draws = np.random.default_rng(0).integers(0, int(valid.sum()), (1000, int(valid.sum())))
    errors = np.abs(truth[valid] - guess[valid])
    low, high = np.quantile(errors[draws].mean(1), [0.025, 0.975])
    spread = float(np.var(truth[valid]))
    r2 = 1 - float(np.mean((truth[valid] - guess[valid]) ** 2)) / spread
    print(f"  {name:<34} MAE {errors.mean():.3f} [{low:.3f}, {high:.3f}] eV  R² {r2:.3f}  invalid {invalid}")


def methods(given: argparse.Namespace) -> None:
    from finetune.generate import load_generator

    prompts = [row["prompt"] for row in read_split(given.work / "rows", "test", limit=16)]
    for method, rate in (("prefix", 0.03), ("prompt", 0.1)):
        folder = given.work / method
        chosen = recipe(method=method, learning_rate=rate, max_steps=40, limit=400, validation_rows=0)
        run = train(given.work / "rows", folder, chosen, minutes=given.minutes)
        losses = [line["loss"] for line in read_metrics(folder) if "loss" in line]
        if run.status != "finished":
            print(f"{method}: {run.status} at step {run.step}")
            continue
        first, again = load_generator(folder).write(prompts), load_generator(folder).write(prompts)
        last = load_generator(checkpoints(folder)[-1], base=BASE, style=STYLE).write(prompts)
        print(
            f"{method}: loss {np.mean(losses[:5]):.3f} → {np.mean(losses[-5:]):.3f} in {run.steps} steps; loaded "
            f"twice, and from the last checkpoint, the same answers: {first == again == last} "
            f"({sum(not one.error for one in first)} of {len(first)} valid)"
        )


# --- cost -------------------------------------------------------------------------------------------------------------


def overhead(given: argparse.Namespace) -> None:
    """Take turns of some steps on the same batches, so that all see the same machine."""
    import torch

    from finetune.loop import make_trainer
    from finetune.models import encode_all, load_tokenizer

    turns, steps = 4, 5
    chosen = recipe(validation_rows=0, max_steps=steps, save_steps=1000, warmup=0.0)
    size = chosen.batch_size * steps
    rows = read_split(given.work / "rows", "train", limit=turns * size)
    tokenizer = load_tokenizer(BASE)
    encoded = encode_all(rows, tokenizer, max_length=chosen.max_length)[0]
    times: dict[str, list[float]] = {"ours": [], "bare": [], "bare, all logits": []}
    for turn in range(turns):
        part = encoded[size * turn : size * turn + size]
        trainer = make_trainer(adapted(chosen), tokenizer, part, [], chosen, given.work / f"overhead{turn}", minutes=0)
        trainer.args.save_strategy = "no"
        batches = list(itertools.islice(trainer.get_train_dataloader(), steps))
        warm = adapted(chosen)
        for batch in batches:  # the first time that a shape comes, oneDNN compiles for it: nobody's step shall pay that
            _bare_step(warm, torch.optim.SGD([p for p in warm.parameters() if p.requires_grad]), batch, kept=True)
        times["ours"] += _timed_trainer(trainer)
        for name, kept in (("bare", True), ("bare, all logits", False)):
            model = adapted(chosen)
            optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3, fused=True)
            times[name] += [_bare_step(model, optimizer, batch, kept=kept) for batch in batches]
    print(
        f"overhead: CPU seconds per step of {chosen.batch_size} rows, median of {turns * steps}, in turns of {steps}:"
    )
    for name, values in times.items():
        ratios = np.array(times["ours"]) / np.array(values)
        draws = np.random.default_rng(0).integers(0, len(ratios), (1000, len(ratios)))
        low, high = np.quantile(np.median(ratios[draws], axis=1), [0.025, 0.975])
        print(f"  {name:<18} {np.median(values):.3f}   ours / it: {np.median(ratios):.3f} [{low:.3f}, {high:.3f}]")


def _timed_trainer(trainer: Any) -> list[float]:
    from transformers import TrainerCallback

    marks: list[float] = []

    class Clock(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            if not marks:
                marks.append(time.process_time())

        def on_step_end(self, *_: Any, **__: Any) -> None:
            marks.append(time.process_time())

    trainer.add_callback(Clock())
    trainer.train()
    return [after - before for before, after in itertools.pairwise(marks)]


def _bare_step(model: Any, optimizer: Any, batch: dict[str, Any], *, kept: bool) -> float:
    import torch

    begin = time.process_time()
    labels = batch["labels"]
    with torch.autocast("cpu", torch.bfloat16):
        if kept:
            first = int((labels >= 0).int().argmax(1).min())
            count = labels.shape[1] - first + 1
            inputs = {name: value for name, value in batch.items() if name != "labels"}
            logits = model(**inputs, logits_to_keep=count, use_cache=False).logits[:, :-1].float()
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels[:, first:].flatten())
        else:
            loss = model(**batch, use_cache=False).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return time.process_time() - begin


# --- surviving --------------------------------------------------------------------------------------------------------

CHILD = """
import sys
from pathlib import Path
from benchmarks.finetune import small
from finetune.train import train
print(train(Path(sys.argv[1]), Path(sys.argv[2]), small(), report=print).status)
"""


def small() -> Recipe:
    return recipe(max_steps=12, batch_size=4, limit=200, validation_rows=0, save_steps=4, lora_dropout=0.1)


def kill(given: argparse.Namespace) -> None:
    dataset = given.work / "rows"
    whole, cut = given.work / "whole", given.work / "cut"
    train(dataset, whole, small())
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(dataset), str(cut)], stdout=subprocess.DEVNULL)
    while len(read_metrics(cut)) < 7 and child.poll() is None:
        time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    child.wait()
    at = [path.name for path in checkpoints(cut)]
    seen = read_metrics(cut)[-1]["step"]
    said: list[str] = []
    train(dataset, cut, small(), report=said.append)
    losses = [[line["loss"] for line in read_metrics(folder)] for folder in (whole, cut)]
    same = max(abs(a - b) for a, b in zip(*losses, strict=True))
    print(
        f"kill: killed after step {seen} with {at}; {said[-1]!r}; last loss {losses[1][-1]:.6f} against "
        f"{losses[0][-1]:.6f} uninterrupted; largest difference of any step {same:.2e}"
    )


def disk(given: argparse.Namespace) -> None:
    if os.geteuid() != 0:
        print("disk: left out, a tmpfs needs root")
        return
    place = given.work / "tmpfs"
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=26m", "tmpfs", str(place)], check=True)
    try:
        try:
            train(given.work / "rows", place / "run", small())
            print("disk: it did not fill up")
        except DiskFull as error:
            left = [path.name for path in checkpoints(place / "run")]
            print(f"disk: {error}\n  → {error.hint}\n  complete: {left}; run.json: {read_run(place / 'run').status}")
        subprocess.run(["mount", "-o", "remount,size=200m", str(place)], check=True)
        run = train(given.work / "rows", place / "run", small())
        final = [line["loss"] for line in read_metrics(place / "run")][-1]
        whole = given.work / "whole"
        other = [line["loss"] for line in read_metrics(whole)][-1] if whole.is_dir() else math.nan
        print(f"disk: with room again: {run.status}; last loss {final:.6f} (never stopped: {other:.6f})")
    finally:
        subprocess.run(["umount", str(place)], check=True)


STEPS: dict[str, Any] = {
    "render": rendering,
    "rows": rows,
    "train": training,
    **{kind: answers(kind) for kind in ("zero", "five", "batched", "single")},
    "report": report,
    "methods": methods,
    "overhead": overhead,
    "kill": kill,
    "disk": disk,
}

if __name__ == "__main__":
    main()
