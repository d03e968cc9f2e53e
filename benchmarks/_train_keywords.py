"""Makes the two files behind keywords without a model: the background counts and the ranking trees.

    python -m benchmarks._train_keywords          (about eight minutes on two cores; writes into assistant/keywords/)
    python -m benchmarks._train_keywords check    (cross-validation on the development half; writes nothing)

Both files that ship were made by the first command, from the development half of the ids alone (`is_development`), and
from texts without keywords: neither the texts nor the keywords of the other half, on which `benchmarks.keywords`
reports, are read.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from assistant.keywords import candidates
from assistant.keywords.background import FILE, background
from assistant.keywords.candidates import Candidate, is_stop, tokenise
from assistant.keywords.evaluate import Example, is_development, read_examples, score
from assistant.keywords.extract import MODEL_FILE, examine, select
from assistant.keywords.features import Floats
from assistant.keywords.keys import key
from ingest.embed import make_embedder

if TYPE_CHECKING:
    from finetune.stack.trees import Forest

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
HERE = Path(__file__).resolve().parents[1] / "assistant" / "keywords"
FULLTEXT = DATA / "fulltext" / "corpus.jsonl.gz"
AUTHORS = DATA / "keyphrases" / "author_keywords.jsonl"
EXPERTS = DATA / "keyphrases" / "scienceie.jsonl"

ARTICLES = frozenset({"the", "a", "an", "of", "this", "these", "in", "for", "with", "by", "on", "between"})
SUBJECTS = frozenset(
    {"we", "to", "it", "they", "can", "may", "is", "are", "was", "were", "been", "be", "which", "that", "not"}
)
KINDS = {"paper": ((AUTHORS, None), (AUTHORS, FULLTEXT)), "passage": ((EXPERTS, None),)}
FOLDS, FOLD_SEEDS = 4, (0, 1)
SEEDS = (0, 1, 2)
ROUNDS = 120
TREES = {  # chosen by cross-validation in four folds of the development half
    "objective": "binary",
    "num_leaves": 7,
    "learning_rate": 0.05,
    "min_data_in_leaf": 60,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "feature_fraction": 0.35,
    "lambda_l2": 10.0,
    "deterministic": True,
    "num_threads": 1,
    "verbose": -1,
}


def main() -> None:
    if "check" in sys.argv[1:]:
        check()
        return
    write_background()
    background.cache_clear()
    write_trees()


def write_background() -> None:
    """Count in how many texts stems and phrases stand, and how words are used."""
    kept_aside = {
        example.id for file in (AUTHORS, EXPERTS) for example in read_examples(file) if not is_development(example.id)
    }
    papers = [row for row in rows(FULLTEXT) if row["_id"] not in kept_aside]
    full = [f"{row['title']}. {row['abstract']}\n{row['body']}" for row in papers]
    short = [
        f"{row.get('title', '')}. {row['text']}"
        for name in ("scifact", "chemlit_qa")
        for row in rows(DATA / "retrieval" / name / "corpus.jsonl.gz")
    ]
    short += [f"{row['title']}. {row['abstract']}" for row in papers]
    usage: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    counts = [count(texts, usage) for texts in (full, short)]
    lines = [f"{len(full)}\t{len(short)}"]
    for stems in sorted(set(counts[0]) | set(counts[1])):
        in_full, in_short = counts[0][stems], counts[1][stems]
        if in_full + in_short >= (3 if len(stems) == 1 else 5):
            lines.append(f"p\t{' '.join(stems)}\t{in_full}\t{in_short}")
    for word, (total, *shares) in sorted(usage.items()):
        if total >= 5:
            lines.append("\t".join(["w", word, *(str(round(100 * share / total)) for share in shares)]))
    (HERE / FILE).write_bytes(gzip.compress("\n".join(lines).encode(), 9, mtime=0))
    print(f"{len(full)} papers, {len(short)} abstracts, {len(lines) - 1} lines")


def count(texts: Iterable[str], usage: dict[str, list[int]]) -> Counter[tuple[str, ...]]:
    """Return in how many texts each stem and phrase of up to three stems stands; `usage` gains how words are used."""
    found: Counter[tuple[str, ...]] = Counter()
    for text in texts:
        tokens = tokenise(candidates.fold(text))
        stems: list[tuple[str, ...] | None] = []
        seen: set[tuple[str, ...]] = set()
        for place, token in enumerate(tokens):
            if not token[0].isalpha():
                stems.append(None)
                continue
            shares = usage[token.lower()]
            before = tokens[place - 1].lower() if place else ""
            shares[0] += 1
            shares[1] += before in ARTICLES
            shares[2] += before in SUBJECTS
            shares[3] += place + 1 < len(tokens) and is_stop(tokens[place + 1])
            seen.add(key(token))
            stems.append(None if is_stop(token) else key(token))
        for size in (2, 3):
            for start in range(len(stems) - size + 1):
                parts = [part for part in stems[start : start + size] if part is not None]
                if len(parts) == size:
                    seen.add(tuple(stem for part in parts for stem in part))
        found.update(seen)
    return found


def write_trees() -> None:
    """Fit the trees for papers (with and without their main text) and for passages, and save them together."""
    from safetensors.numpy import save_file

    tensors = {}
    for kind, sets in KINDS.items():
        examples = [one for file, fulltext in sets for one in measured(file, fulltext)]
        for name, tensor in fit(examples).tensors().items():
            tensors[f"{kind}.{name}"] = tensor
        print(f"{kind}: {len(examples)} texts")
    save_file(tensors, HERE / MODEL_FILE)
    (HERE / MODEL_FILE).chmod(0o644)


def check() -> None:
    """Print F1@10 on texts that the trees have not seen, and how many keywords stand in another one of their list."""
    for kind, sets in KINDS.items():
        found = {(file, fulltext): measured(file, fulltext) for file, fulltext in sets}
        results: dict[Any, list[tuple[float, int]]] = defaultdict(list)
        for seed, held in product(FOLD_SEEDS, range(FOLDS)):
            kept = [one for examples in found.values() for one in examples if fold(one.example, seed) != held]
            forest = fit(kept)
            for name, examples in found.items():
                results[name] += [rated(forest, one) for one in examples if fold(one.example, seed) == held]
        for (file, fulltext), rows in results.items():
            f1, repeated = np.mean(rows, axis=0)
            name = f"{kind}: {file.name}{', full text' if fulltext else ''}"
            print(f"{name}, n = {len(rows) // len(FOLD_SEEDS)}: F1@10 {f1:.4f}, {repeated:.2f} of ten within another")


def fold(example: Example, seed: int) -> int:
    """Return the fold of a text: the same with and without its main text."""
    return int(hashlib.sha256(f"{seed}:{example.id}".encode()).hexdigest(), 16) % FOLDS


def rated(forest: Forest, one: Measured) -> tuple[float, int]:
    """Return F1@10 of the keywords that the shipped selection takes by the scores of `forest`, and the repeats."""
    from finetune.stack.trees import predict

    scores = predict(forest, one.rows)
    places = select(scores, one.chosen, one.vectors, most=10, among=range(len(one.chosen)))
    keys = [set(one.chosen[place].key) for place in places]
    forms = [one.chosen[place].form for place in places]
    return score(forms, one.example.gold)["f1@10"], sum(any(inner < outer for outer in keys) for inner in keys)


@dataclass(frozen=True, slots=True)
class Measured:
    """A text with what was measured of its candidates."""

    example: Example
    chosen: list[Candidate]
    rows: Floats
    vectors: Floats


def measured(file: Path, fulltext: Path | None) -> list[Measured]:
    """Return the texts of the development half that have candidates."""
    embedder = make_embedder("all-MiniLM-L6-v2")
    found = (Measured(one, *examine(one.text, embedder=embedder)) for one in development(file, fulltext=fulltext))
    return [one for one in found if one.chosen]


def development(file: Path, *, fulltext: Path | None = None) -> list[Example]:
    return [example for example in read_examples(file, fulltext=fulltext) if is_development(example.id)]


def fit(examples: list[Measured]) -> Forest:
    """Return a forest that tells keywords from the other candidates; every text weighs the same."""
    import lightgbm

    from finetune.stack.trees import from_lightgbm

    features = np.concatenate([one.rows for one in examples])
    labels = np.array([candidate.key in one.example.gold for one in examples for candidate in one.chosen], dtype=int)
    weights = np.array([200 / len(one.chosen) for one in examples for _ in one.chosen])
    dumps = []
    for seed in SEEDS:
        data = lightgbm.Dataset(features, labels, weight=weights)
        dumps.append(lightgbm.train(TREES | {"seed": seed}, data, ROUNDS).dump_model())
    together: dict[str, Any] = dumps[0] | {"tree_info": [tree for dump in dumps for tree in dump["tree_info"]]}
    return from_lightgbm(together)


def rows(file: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


if __name__ == "__main__":
    main()
