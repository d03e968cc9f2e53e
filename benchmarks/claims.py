"""The claim check on a hundred constructed answers: what is wrong with them, and what is found.

    python -m benchmarks.claims --library FOLDER    a library of the 39 papers, from `benchmarks.answers --keep`

Sentences with a number and unit are drawn from real pages with a fixed seed. Twenty answers are true (word for word,
introduced, or with units spelt another way); sixteen each have another number, another unit, the wrong page, an
invented quotation, or are negated. Counted is `unsupported`: how many of those so marked are wrong (precision), and how
many of the wrong ones are marked (recall).
"""

from __future__ import annotations

import argparse
import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from assistant.citations import Citation, check_claims, locate
from assistant.metrics import bootstrap_ratio
from assistant.polarity import is_negated
from assistant.quantities import quantities
from ingest.chunk import sentences
from ingest.library import Library
from ingest.records import Page

SEED = 0
TRUE, EACH = 20, 16
UNITS = {
    "eV": "meV", "meV": "eV", "°C": "K", "K": "°C", "MPa": "GPa", "GPa": "MPa", "nm": "μm", "μm": "nm", "µm": "nm",
    "mm": "cm", "h": "min", "min": "h", "V": "mV", "mV": "V", "%": "ppm", "g": "mg", "Å": "nm", "s": "h",
}  # fmt: skip
_VERB = re.compile(r"\b(is|was|are|were)\b(?! not)")


@dataclass(frozen=True, slots=True)
class Fact:
    """A sentence of a page, with the passage it stands in."""

    sentence: str
    page: Page
    paper: str


@dataclass(frozen=True, slots=True)
class Case:
    """One constructed answer: its kind, its text, and the page that its citation names."""

    kind: str
    text: str
    quote: str
    page: Page
    paper: str

    @property
    def wrong(self) -> bool:
        """Whether it should be marked."""
        return not self.kind.startswith("true")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", type=Path, required=True)
    parser.add_argument("--show", action="store_true", help="print the cases that were judged wrongly")
    options = parser.parse_args()
    with Library.open(options.library) as library:
        facts = usable(library)
        print(f"{len(facts)} sentences to draw from, seed {SEED}")
        report(construct(facts), show=options.show)


def usable(library: Library) -> list[Fact]:
    """Return plain sentences with one or two numbers with units, one of which can be exchanged."""
    facts = []
    for paper in library.papers():
        for page in library.pages(paper.id):
            for block in page.blocks:
                if block.kind == "text":
                    text = page.text[block.start : block.end]
                    facts += [Fact(one, page, paper.id) for one in _plain(text[a:b] for a, b in sentences(text))]
    return facts


def _plain(candidates: Iterable[str]) -> list[str]:
    good = []
    for text in candidates:
        found = [one for one in quantities(text) if one.unit]
        tidy = re.fullmatch(r"[A-Z][^“”\"\[\]\n]{40,220}\.", text.strip())
        if tidy and 1 <= len(found) <= 2 and _VERB.search(text) and not is_negated(text) and _other_unit(text):
            good.append(text.strip())
    return good


def construct(facts: Sequence[Fact], *, true: int = TRUE, each: int = EACH) -> list[Case]:
    """Return the cases, drawn with the fixed seed."""
    draw = random.Random(SEED)
    chosen = draw.sample(list(facts), true + 5 * each)
    makers = [("true", true), ("number", each), ("unit", each), ("page", each), ("quote", each), ("negated", each)]
    return [_case(kind, chosen.pop(), draw, facts) for kind, count in makers for _ in range(count)]


def _case(kind: str, fact: Fact, draw: random.Random, facts: Sequence[Fact]) -> Case:
    text, page = fact.sentence, fact.page
    if kind == "true":
        ways = {"true": text, "true, introduced": _introduced(text), "true, respelt": _respelt(text)}
        kind = draw.choice(list(ways))
        text = ways[kind]
    elif kind == "number":
        text = _other_number(text, draw)
    elif kind == "unit":
        text = _other_unit(text)
    elif kind == "page":
        page = draw.choice([other.page for other in facts if locate(text, other.page) is None])
    elif kind == "quote":
        text = f'The authors write "{_invented(text, draw)}".'
    else:
        text = _VERB.sub(r"\1 not", text, count=1)
    return Case(kind, f"{text.rstrip('.')} [1].", fact.sentence, page, fact.paper)


def _introduced(text: str) -> str:
    return f"According to the paper, {text[0].lower()}{text[1:]}"


def _respelt(text: str) -> str:
    return re.sub(r"(?<=\d)\s+(?=[A-Za-z°%μÅ])", " ", text).replace("−", "-").replace("µ", "μ")


def _other_number(text: str, draw: random.Random) -> str:
    one = next(each for each in quantities(text) if each.unit)
    digits = re.search(r"\d", text[one.start : one.end])
    place = one.start + (digits.start() if digits else 0)
    other = draw.choice([digit for digit in "123456789" if digit != text[place]])
    return text[:place] + other + text[place + 1 :]


def _other_unit(text: str) -> str:
    for one in quantities(text):
        for unit, other in UNITS.items():
            found = re.search(
                rf"(?<=[\d\s]){re.escape(unit)}(?![\w/·⋅^−-]| ?[a-zA-Zµμ]+\s?[−-]\d)", text[one.start : one.end + 8]
            )
            if one.unit and found and one.start + found.start() < one.end:
                return text[: one.start + found.start()] + other + text[one.start + found.end() :]
    return ""


def _invented(text: str, draw: random.Random) -> str:
    words = text.rstrip(".").split()
    places = [i for i, word in enumerate(words) if len(word) > 5 and word.isalpha()] or [0]
    words[draw.choice(places)] = draw.choice(["remarkable", "spectacular", "negligible", "tetragonal", "amorphous"])
    return " ".join(words)


def is_marked(case: Case) -> bool:
    """Whether the claim check finds the answer unsupported."""
    located = locate(case.quote, case.page)
    status = "verified" if located else "unsupported"
    citation = Citation(1, case.paper, "", "", case.page.number, case.quote, status)  # type: ignore[arg-type]
    start = max((located.start if located else 0) - 300, 0)
    evidence = {1: case.page.text[start : start + len(case.quote) + 600]}
    return any(claim.status == "unsupported" for claim in check_claims(case.text, [citation], evidence))


def report(cases: Sequence[Case], *, show: bool) -> None:
    """Print the share marked of each kind, and precision and recall."""
    marked = [is_marked(case) for case in cases]
    for kind in dict.fromkeys(case.kind for case in cases):
        of_kind = [is_it for case, is_it in zip(cases, marked, strict=True) if case.kind == kind]
        print(f"  {kind:<18} {sum(of_kind):>2} of {len(of_kind)} marked unsupported")
    wrong = [float(case.wrong) for case in cases]
    both = [float(case.wrong and is_it) for case, is_it in zip(cases, marked, strict=True)]
    print(f"  precision {bootstrap_ratio(both, [float(m) for m in marked], seed=SEED)}")
    print(f"  recall    {bootstrap_ratio(both, wrong, seed=SEED)}   n={len(cases)}")
    if show:
        for case, is_it in zip(cases, marked, strict=True):
            if is_it != case.wrong:
                print(f"    {case.kind}: {case.text}")


if __name__ == "__main__":
    main()
