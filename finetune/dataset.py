"""A dataset folder: prompt and completion rows of crystals, split for training, validation and test, with a card.

    train.jsonl.gz, validation.jsonl.gz, test.jsonl.gz
        rows {id, formula, target, text, prompt, completion, value, nsites, lattice, species, frac_coords}
    card.json, card.md
        counts, hashes, filters, duplicates, polymorphs across splits, seed, kind of split, text style, rounding
    skipped.txt
        every record that was left out, with its reason

The card is written last: a folder with a card is complete.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import random
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from finetune.runs import code_revision, now, versions, write_whole
from finetune.sources import Source, Usable, read_usable
from finetune.tasks import find_target, make_completion, make_prompt
from finetune.texts import TextCache, render_cached
from ingest.errors import BadInput
from ingest.structure_text import STYLES

SCHEMA = 1
SPLITS = ("train", "validation", "test")
SPLIT_KINDS = ("random", "formula")
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Choices:
    """How a dataset is made. Shares below 1 are parts of the usable records, 1 and more are numbers of records."""

    targets: tuple[str, ...] = ("band_gap",)
    style: str = "tutorial"
    split: str = "random"  # or "formula": no formula in two splits
    split_ids: Mapping[str, str] | None = None  # id -> split, instead of `split`
    validation: float = 0.05
    test: float = 0.1
    seed: int = 0
    limit: int = 0  # records to take, drawn at random; 0 for all
    max_sites: int = 0
    decimals: int | None = None  # None: each target's own

    def check(self) -> None:
        """Raise BadInput for a choice that there is not."""
        for name in self.targets:
            find_target(name)
        if not self.targets or len(set(self.targets)) < len(self.targets):
            raise BadInput(f"the targets {list(self.targets)} are none, or one of them twice")
        if self.style not in STYLES:
            raise BadInput(f"there is no structure text {self.style!r}", hint=f"Known are {', '.join(STYLES)}")
        if self.split not in SPLIT_KINDS and self.split_ids is None:
            raise BadInput(f"there is no split {self.split!r}", hint="Known are random, formula, or a file of ids")
        for name in ("validation", "test", "limit", "max_sites"):
            if getattr(self, name) < 0:
                raise BadInput(f"{name} is {getattr(self, name)}, below 0")


def prepare(
    source: Source,
    folder: Path,
    choices: Choices,
    *,
    cache: Path | None = None,
    workers: int = 0,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write a dataset folder and return its card.

    The records are read twice: first to decide which go where, then to render those; so memory holds ids, not texts.

    Raises:
        BadInput: a choice or a file cannot be used, no record can, a split is empty, or the folder is taken.
    """
    choices.check()
    _check_folder(folder, overwrite=overwrite)
    folder.mkdir(parents=True, exist_ok=True)
    skipped: list[str] = []
    chosen, facts = _choose(source, choices, skipped)
    splits = _split(chosen, choices)
    written = _write_rows(source, folder, choices, splits, TextCache(cache), workers)
    card = {
        "schema": SCHEMA,
        "kind": "dataset",
        "made": now(),
        "targets": list(choices.targets),
        "style": choices.style,
        "choices": {name: value for name, value in asdict(choices).items() if name != "split_ids"},
        "split": "ids" if choices.split_ids is not None else choices.split,
        "seed": choices.seed,
        "decimals": {
            name: find_target(name).decimals if choices.decimals is None else choices.decimals
            for name in choices.targets
        },
        "source": source.digests() if source.paths else {"library": "materials"},
        **facts,
        **written,
        "skipped": len(skipped),
        "skipped_reasons": dict(Counter(_kind_of(reason) for reason in skipped).most_common()),
        "code_revision": code_revision(),
        "versions": versions(("matlit", "spglib", "numpy")),
    }
    write_whole(folder / "skipped.txt", "".join(f"{reason}\n" for reason in skipped))
    write_whole(folder / "card.md", card_page(card))
    write_whole(folder / "card.json", json.dumps(card, indent=1, ensure_ascii=False) + "\n")
    return card


def read_card(folder: Path) -> dict[str, Any]:
    """Return the card of a dataset folder.

    Raises:
        BadInput: it has none, or it is damaged.
    """
    path = Path(folder) / "card.json"
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BadInput(
            f"{str(folder)!r} is no dataset folder: it has no card.json",
            hint="Make one: matlit finetune prepare RECORDS.jsonl -o FOLDER",
        ) from error
    except (OSError, ValueError) as error:
        raise BadInput(f"{str(path)!r} cannot be read: {error}", hint="Prepare the dataset again") from error
    if not isinstance(card, dict) or card.get("schema", 0) > SCHEMA:
        raise BadInput(f"{str(path)!r} was written by a newer matlit", hint="pip install -U matlit")
    return card


def read_split(folder: Path, split: str, *, target: str = "", limit: int = 0) -> list[Row]:
    """Return the rows of one split in their order, those of one target where it is named.

    With `limit` it is that many of them, drawn at random and always the same: a source's first rows are seldom like its
    others (the Materials Project begins with elements).

    Raises:
        BadInput: there is no such split, it is empty, or it is damaged.
    """
    read_card(folder)
    path = Path(folder) / f"{split}.jsonl.gz"
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            rows: list[Row] = [row for line in file if (row := json.loads(line)) and target in ("", row["target"])]
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{str(path)!r} cannot be read: {error}", hint="Prepare the dataset again") from error
    if not rows:
        what = f" with the target {target!r}" if target else ""
        raise BadInput(f"the split {split!r} of {str(folder)!r} is empty{what}", hint="Prepare it with other shares")
    if not 0 < limit < len(rows):
        return rows
    places = random.Random(limit).sample(range(len(rows)), limit)  # noqa: S311  # no secret
    return [rows[place] for place in sorted(places)]


def read_split_ids(path: Path) -> dict[str, str]:
    """Return the split of each id from a JSON object {"train": [ids], …} or a CSV with the columns id and split.

    Raises:
        BadInput: the file is neither, names another split, or puts an id into two.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() == ".json":
            pairs = [(str(name), split) for split, names in json.loads(text).items() for name in names]
        else:
            pairs = [(row["id"], row["split"]) for row in csv.DictReader(io.StringIO(text))]
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise BadInput(
            f"{str(path)!r} does not give splits: {error}",
            hint='Write JSON {"train": ["mp-1", …], "validation": […], "test": […]} or a CSV with columns id,split',
        ) from error
    places: dict[str, str] = {}
    for name, split in pairs:
        if split not in SPLITS:
            raise BadInput(f"{path.name!r} puts {name!r} into {split!r}; splits are {', '.join(SPLITS)}")
        if places.setdefault(name, split) != split:
            raise BadInput(f"{path.name!r} puts {name!r} into both {places[name]!r} and {split!r}")
    return places


# --- which records, and where to --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Known:
    id: str
    formula: str


def _choose(source: Source, choices: Choices, skipped: list[str]) -> tuple[list[_Known], dict[str, Any]]:
    found: list[_Known] = []
    ids: set[str] = set()
    contents: set[bytes] = set()
    facts = {"same_id": 0, "same_structure": 0}
    materials = source.materials(skipped.append)
    for usable in read_usable(materials, targets=choices.targets, report=skipped.append, max_sites=choices.max_sites):
        content = usable.content()
        if usable.id in ids:
            facts["same_id"] += 1
            skipped.append(f"{usable.id}: a second record of this id")
        elif content in contents:
            facts["same_structure"] += 1
            skipped.append(f"{usable.id}: the same cell as an earlier record")
        else:
            ids.add(usable.id)
            contents.add(content)
            found.append(_Known(usable.id, usable.formula))
    if not found:
        first = f"; the first problem: {skipped[0]}" if skipped else ": there are none"
        raise BadInput(f"no record can be used for {', '.join(choices.targets)}{first}")
    total = len(found)
    if choices.limit and choices.limit < total:
        taken = set(random.Random(f"limit|{choices.seed}").sample(range(total), choices.limit))  # noqa: S311
        found = [known for index, known in enumerate(found) if index in taken]
    return found, {"usable": total, "taken": len(found), "duplicates": facts}


def _split(chosen: Sequence[_Known], choices: Choices) -> dict[str, str]:
    """Return id -> split; every formula in one split only where that is asked for."""
    if choices.split_ids is not None:
        places = {known.id: split for known in chosen if (split := choices.split_ids.get(known.id))}
        sizes = dict.fromkeys(set(choices.split_ids.values()), 1)
    else:
        sizes = {name: _count(getattr(choices, name), len(chosen)) for name in ("test", "validation")}
        places = _draw(chosen, sizes, seed=choices.seed, by_formula=choices.split == "formula")
    have = Counter(places.values())
    for name, size in {**sizes, "train": 1}.items():
        if size and not have[name]:
            raise BadInput(
                f"the split {name!r} would be empty: {len(chosen)} usable records, {dict(have)} so far",
                hint="Give more records, or other --validation and --test",
            )
    return places


def _draw(chosen: Sequence[_Known], sizes: Mapping[str, int], *, seed: int, by_formula: bool) -> dict[str, str]:
    groups: dict[str, list[str]] = {}
    for known in chosen:
        groups.setdefault(known.formula if by_formula else known.id, []).append(known.id)
    order = sorted(groups)
    random.Random(f"split|{seed}").shuffle(order)  # noqa: S311  # no secret
    places: dict[str, str] = {}
    left = dict(sizes)
    for name in order:
        # the first split that this group still fits into; the rest trains
        split = next((split for split, room in left.items() if room >= len(groups[name])), "train")
        if split != "train":
            left[split] -= len(groups[name])
        places |= dict.fromkeys(groups[name], split)
    return places


def _count(share: float, total: int) -> int:
    return round(share * total) if share < 1 else int(share)


# --- writing ----------------------------------------------------------------------------------------------------------


def _write_rows(
    source: Source, folder: Path, choices: Choices, splits: Mapping[str, str], cache: TextCache, workers: int
) -> dict[str, Any]:
    digests = {split: hashlib.sha256() for split in SPLITS}
    counts: Counter[str] = Counter()
    formulas: dict[str, Counter[str]] = {split: Counter() for split in SPLITS}
    values: dict[str, dict[str, list[float]]] = {split: {} for split in SPLITS}
    with ExitStack() as stack:
        files = {split: stack.enter_context(_open_new(folder / f"{split}.jsonl.gz.partial")) for split in SPLITS}
        for usable, text in _rendered(source, choices, splits, cache, workers):
            split = splits[usable.id]
            formulas[split][usable.formula] += 1
            for row in make_rows(usable, text, choices):
                line = json.dumps(row, ensure_ascii=False) + "\n"
                files[split].write(line)
                digests[split].update(line.encode())
                counts[split] += 1
                values[split].setdefault(row["target"], []).append(row["value"])
    for split in SPLITS:
        (folder / f"{split}.jsonl.gz.partial").replace(folder / f"{split}.jsonl.gz")
    cache.close()
    seen = set(formulas["train"])
    return {
        "rows": {split: counts[split] for split in SPLITS},
        "hashes": {split: digests[split].hexdigest() for split in SPLITS},
        "hash": hashlib.sha256("".join(digests[split].hexdigest() for split in SPLITS).encode()).hexdigest()[:16],
        "formulas": {split: len(formulas[split]) for split in SPLITS},
        "records_whose_formula_is_in_train": {
            split: sum(count for formula, count in formulas[split].items() if formula in seen)
            for split in ("validation", "test")
        },
        "values": {split: {target: _summary(numbers) for target, numbers in values[split].items()} for split in SPLITS},
        "texts": {"rendered": cache.misses, "from_cache": cache.hits},
    }


def _rendered(
    source: Source, choices: Choices, splits: Mapping[str, str], cache: TextCache, workers: int
) -> Iterator[tuple[Usable, str]]:
    waiting: deque[Usable] = deque()

    def crystals() -> Iterator[Any]:
        done: set[str] = set()
        for usable in read_usable(
            source.materials(_ignore), targets=choices.targets, report=_ignore, max_sites=choices.max_sites
        ):
            if usable.id in splits and usable.id not in done:
                done.add(usable.id)
                waiting.append(usable)
                yield usable.crystal

    for text in render_cached(crystals(), cache, style=choices.style, workers=workers):
        yield waiting.popleft(), text


def _ignore(_: str) -> None:
    """Reasons were collected when the records were read for the first time."""


def make_rows(usable: Usable, text: str, choices: Choices) -> list[Row]:
    """Return the rows of one record, one per target it has."""
    mixed = len(choices.targets) > 1
    return [
        {
            "id": usable.id,
            "formula": usable.formula,
            "target": target,
            **({"task": target} if mixed else {}),
            "text": text,
            "prompt": make_prompt(text, target, choices.style),
            "completion": make_completion(usable.values[target], target, decimals=choices.decimals),
            "value": usable.values[target],
            "nsites": usable.nsites,
            **usable.structure(),
        }
        for target in choices.targets
        if target in usable.values
    ]


def _open_new(path: Path) -> IO[str]:
    # no time stamp in the file: the same rows give the same bytes
    return io.TextIOWrapper(gzip.GzipFile(path, "wb", compresslevel=4, mtime=0), encoding="utf-8", newline="\n")


def _check_folder(folder: Path, *, overwrite: bool) -> None:
    if folder.is_file():
        raise BadInput(f"{str(folder)!r} is a file", hint="Name a folder for the dataset")
    if folder.is_dir() and any(folder.iterdir()):
        ours = (folder / "card.json").is_file() or (folder / "train.jsonl.gz.partial").is_file()
        if not ours:
            raise BadInput(f"the folder {str(folder)!r} is not empty and no dataset", hint="Name another one")
        if (folder / "card.json").is_file():
            if not overwrite:
                raise BadInput(f"the folder {str(folder)!r} holds a dataset already", hint="Replace it: --overwrite")
            (folder / "card.json").unlink()


def _summary(numbers: Sequence[float]) -> dict[str, float]:
    count = len(numbers)
    mean = sum(numbers) / count
    spread = (sum((number - mean) ** 2 for number in numbers) / count) ** 0.5
    return {
        "n": count,
        "mean": round(mean, 4),
        "std": round(spread, 4),
        "min": round(min(numbers), 4),
        "max": round(max(numbers), 4),
        "zeros": sum(number == 0 for number in numbers),
    }


def _kind_of(reason: str) -> str:
    """Return a reason without what is particular to one record, for counting."""
    for mark in ("disordered", "no element", "more than", "second record", "same cell", "holds no structure"):
        if mark in reason:
            return mark
    if "it has no " in reason:
        return reason.partition(": it has ")[2]
    return "not a number" if "not a number" in reason or "not a finite" in reason else "malformed"


def card_page(card: Mapping[str, Any]) -> str:
    """Return the card as a Markdown page."""
    rows = card["rows"]
    lines = [
        f"# Dataset: {', '.join(card['targets'])} from structures ({card['style']} text)",
        "",
        f"Made {card['made']} with seed {card['seed']}; split: {card['split']}; hash `{card['hash']}`.",
        "",
        "| split | rows | formulas | formula also in train |",
        "|---|---|---|---|",
        *(
            f"| {split} | {rows[split]} | {card['formulas'][split]} | "
            f"{card['records_whose_formula_is_in_train'].get(split, '')} |"
            for split in SPLITS
        ),
        "",
        "| split | target | n | mean | std | min | max | exactly 0 |",
        "|---|---|---|---|---|---|---|---|",
        *(
            f"| {split} | {target} | " + " | ".join(f"{figure:g}" for figure in summary.values()) + " |"
            for split in SPLITS
            for target, summary in card["values"][split].items()
        ),
        "",
        f"Usable records {card['usable']}, taken {card['taken']}, left out {card['skipped']} (skipped.txt): "
        + (", ".join(f"{count} × {reason}" for reason, count in card["skipped_reasons"].items()) or "none")
        + ".",
        "",
        "Source: " + ", ".join(f"{name} (SHA-256 {digest[:16]})" for name, digest in card["source"].items()),
        "",
    ]
    return "\n".join(lines)
