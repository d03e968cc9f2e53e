"""What a formula may be written like: element symbols, counts, groups, hydrates and charges, as patterns."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import groupby
from operator import itemgetter

from ingest.elements import NUMBERS


def words(text: str) -> frozenset[str]:
    """Return the words of a text."""
    return frozenset(text.split())


# Nobody has made compounds of the heaviest elements, but Ds, Ts and Mc end many abbreviations: CNTs, SODs.
_SUPERHEAVY = words("Es Fm Md No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og")


def one_of(symbols: Iterable[str]) -> str:
    """Return a pattern for element symbols, the longer first; by initials, since `re` tries branch after branch."""
    branches = []
    for initial, group in groupby(sorted(symbols), key=itemgetter(0)):
        seconds = [symbol[1:] for symbol in group]
        second = f"[{''.join(seconds)}]" if any(seconds) else ""
        branches.append(initial + second + ("?" if second and "" in seconds else ""))
    return "|".join(branches)


TWO = one_of(symbol for symbol in NUMBERS.keys() - _SUPERHEAVY if len(symbol) == 2)
EL = f"(?:{one_of(NUMBERS.keys() - _SUPERHEAVY)}|D(?=2O)|D(?=,|2O))"
NUM = r"(?:\d+(?:\.\d+)?(?:/\d+)?)"
_VAR = r"(?:[xyzδ](?![a-zα-ω]))"
TERM = rf"(?:{NUM}?{_VAR})"
_EXPR = rf"(?:(?:{TERM}|{NUM})(?:[-−+±]{TERM})+|{TERM}[-−+±]{NUM}|{TERM}|{NUM})"
COUNT = rf"(?:{_EXPR}|\((?=[^()]*[xyzδ]){_EXPR}\))"
# Tx is the surface termination of MXenes (Ti3C2Tx).
_ATOM = rf"(?:{EL}{COUNT}?|Tx(?=$|[^A-Za-z]))"
_ROMAN = r"(?:VI{0,3}|I{1,3}|I?V|I?X)"
_OPEN = rf"[(\[](?!{_ROMAN}[)\]])"
REPEAT = rf"(?:{COUNT}|n(?![a-z]))?"
_GROUP1 = rf"(?:{_OPEN}{_ATOM}(?:[,/]?{_ATOM})*[)\]]{REPEAT})"
_GROUP2 = rf"(?:{_OPEN}(?:{_ATOM}|{_GROUP1})(?:[,/]?(?:{_ATOM}|{_GROUP1}))*[)\]]{REPEAT})"
BODY = rf"(?:(?:{_ATOM}|{_GROUP1}|{_GROUP2})+(?:\s?·\s?(?:{TERM}|{NUM})?\s?(?:{_ATOM}|{_GROUP1})+)*)"
SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹"
_SIGNS = rf"\d?[+−](?![A-Za-z0-9+])|\d?-(?![A-Za-z0-9-])|[{SUPERSCRIPTS}]*[⁺⁻]| ?\^?[1-4][+−](?![A-Za-z0-9+])"
_CHARGE = rf"(?:\^?(?P<charge>{_SIGNS})|\((?P<roman>{_ROMAN})\))"

COMPACT = re.compile(
    rf"(?<![A-Za-z0-9_.^])(?P<mass>[{SUPERSCRIPTS}]+)?(?P<body>{BODY})(?:{_CHARGE})?(?![A-Za-z0-9α-ω])"
)
WHOLE = re.compile(rf"(?P<body>{BODY})(?:{_CHARGE})?")
# A PDF's text often has a space wherever the type size changes: "LiFePO 4", "Ba 0.6 Sr 0.4 TiO 3", "Li Fe P O4".
_LOOSE_COUNT = rf"{COUNT}(?=[\s,;:)\]/−-]|\.(?!\d)|$)"
SPACED = re.compile(rf"(?<![A-Za-z0-9_.^])(?P<body>{BODY}(?: (?:{BODY}|{_LOOSE_COUNT}))+)(?![A-Za-z0-9α-ω%°])")
ATOMS = re.compile(rf"({EL})({COUNT})?")
# Where a formula, or a bare symbol, can begin. The grammars are asked there only: tried at every letter of a text, they
# take most of the time that indexing takes.
# ("The" and "Project" are passed over: after a symbol, of lower-case letters only the variables x, y and z may follow.)
_BEGINS = rf"[A-Z(\[{SUPERSCRIPTS}](?<![A-Za-z0-9.].)(?![a-z][a-w])"
START = re.compile(_BEGINS)
SPACED_START = re.compile(rf"{_BEGINS}(?=[^ ]* [(\[]*[A-Z\dxyzδ·])")  # what goes on after its first space
NUCLEAR = ("NMR", "MAS", "isotope", "nucle")
ISOTOPE = re.compile(
    rf"(?<![A-Za-z0-9.])(?P<mass>\d{{1,3}})(?P<symbol>{TWO}|[HBCNOFPVYI])(?=[ -](?:{'|'.join(NUCLEAR)}))"
)
