"""Makes the two files behind keywords without a model: the background counts and the ranking trees.

    python -m benchmarks._train_keywords        (about six minutes on two cores; writes into assistant/keywords/)

Both come from the development half of the ids alone (`is_development`), and from texts without keywords: neither the
texts nor the keywords of the other half, on which `benchmarks.keywords` reports, are read.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from assistant.keywords.background import FILE, background
from assistant.keywords.candidates import fold, is_stop, tokenise
from assistant.keywords.evaluate import Example, is_development, read_examples
from assistant.keywords.extract import MODEL_FILE, examine
from assistant.keywords.keys import key
from ingest.embed import make_embedder

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
HERE = Path(__file__).resolve().parents[1] / "assistant" / "keywords"
FULLTEXT = DATA / "fulltext" / "corpus.jsonl.gz"
AUTHORS = DATA / "keyphrases" / "author_keywords.jsonl"
EXPERTS = DATA / "keyphrases" / "scienceie.jsonl"

ARTICLES = frozenset({"the", "a", "an", "of", "this", "these", "in", "for", "with", "by", "on", "between"})
SUBJECTS = frozenset(
    {"we", "to", "it", "they", "can", "may", "is", "are", "was", "were", "been", "be", "which", "that", "not"}
)
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
        tokens = tokenise(fold(text))
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

    papers = [*development(AUTHORS), *development(AUTHORS, fulltext=FULLTEXT)]
    tensors = {}
    for kind, examples in (("paper", papers), ("passage", development(EXPERTS))):
        for name, tensor in fit(examples).items():
            tensors[f"{kind}.{name}"] = tensor
        print(f"{kind}: {len(examples)} texts")
    save_file(tensors, HERE / MODEL_FILE)
    (HERE / MODEL_FILE).chmod(0o644)


def development(file: Path, *, fulltext: Path | None = None) -> list[Example]:
    return [example for example in read_examples(file, fulltext=fulltext) if is_development(example.id)]


def fit(examples: list[Example]) -> dict[str, np.ndarray]:
    """Return the tensors of a forest that tells keywords from the other candidates; every text weighs the same."""
    import lightgbm

    from finetune.stack.trees import from_lightgbm

    embedder = make_embedder("all-MiniLM-L6-v2")
    features, labels, weights = [], [], []
    for example in examples:
        chosen, measured, _ = examine(example.text, embedder=embedder)
        if chosen:
            features.append(measured)
            labels += [candidate.key in example.gold for candidate in chosen]
            weights += [200 / len(chosen)] * len(chosen)
    dumps = []
    for seed in SEEDS:
        data = lightgbm.Dataset(np.concatenate(features), np.array(labels, dtype=int), weight=np.array(weights))
        dumps.append(lightgbm.train(TREES | {"seed": seed}, data, ROUNDS).dump_model())
    together: dict[str, Any] = dumps[0] | {"tree_info": [tree for dump in dumps for tree in dump["tree_info"]]}
    return from_lightgbm(together).tensors()


def rows(file: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


if __name__ == "__main__":
    main()
