"""The recipe of the shipped band gap predictor: features once, boosted trees, graph networks, all stacked.

Each step writes into one work folder and skips what lies there already, so that the whole can be stopped and resumed:

    python -m finetune.stack prepare DATA.jsonl.gz WORK    features and graphs of every structure (2 minutes)
    python -m finetune.stack trees WORK                    boosted trees, in pieces of 100 (35 minutes)
    python -m finetune.stack network WORK                  two graph networks, a checkpoint per epoch (40 minutes)
    python -m finetune.stack ship WORK FOLDER              stack, calibrate, test, and write the model

Times are for 2 idle cores and 105,000 structures. A step that was stopped continues when it is started again.
"""

from __future__ import annotations

import json
import os
from argparse import ArgumentParser, Namespace, RawTextHelpFormatter
from collections.abc import Iterator, Sequence
from pathlib import Path

from finetune.stack.fit import NETWORKS, TREES, fit_network, fit_trees
from finetune.stack.prepare import open_work, prepare
from finetune.stack.ship import ship


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one step of the recipe."""
    parser = ArgumentParser(prog="python -m finetune.stack", description=__doc__, formatter_class=RawTextHelpFormatter)
    steps = parser.add_subparsers(dest="step", required=True)
    command = steps.add_parser("prepare")
    command.add_argument("data", type=Path)
    command.add_argument("work", type=Path)
    command = steps.add_parser("trees")
    command.add_argument("work", type=Path)
    command.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    command.add_argument("--rounds", type=int, default=0)
    command.add_argument("--only", choices=list(TREES), action="append")
    command = steps.add_parser("network")
    command.add_argument("work", type=Path)
    command.add_argument("--only", choices=list(NETWORKS), action="append")
    command.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="for example epochs=12")
    command.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    command = steps.add_parser("ship")
    command.add_argument("work", type=Path)
    command.add_argument("folder", type=Path)
    for line in _run(parser.parse_args(arguments)):
        print(line, flush=True)  # noqa: T201 - this is a command
    return 0


def _run(given: Namespace) -> Iterator[str]:
    if given.step == "prepare":
        yield from prepare(given.data, given.work)
        return
    work = open_work(given.work)
    if given.step == "trees":
        for name in given.only or TREES:
            yield from fit_trees(work, name, threads=given.threads, rounds=given.rounds)
    elif given.step == "network":
        import torch

        torch.set_num_threads(given.threads)
        changes = {key: json.loads(value) for key, _, value in (item.partition("=") for item in given.set)}
        for name in given.only or NETWORKS:
            yield from fit_network(work, name, changes=changes)
    else:
        yield ship(work, given.folder)


if __name__ == "__main__":
    raise SystemExit(main())
