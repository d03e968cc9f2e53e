"""Where the sentences of scientific English and Japanese (or Chinese) end.

By rule, because a statistical splitter trips over what papers are full of: "Fig. 2", "et al.", "0.5 mol",
"A. K. Padhi", "at 300 K. The", citations set as superscripts ("capacity.12 The").
"""

from __future__ import annotations

import re

Span = tuple[int, int]


def _words(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


# Never the end of a sentence: what follows belongs to it.
_ALWAYS_SHORT = _words(
    """fig figs eq eqs eqn eqns ref refs sec secs sect sects tab tabs chap chaps app appx cf e.g i.e eg ie viz vs ca
    approx resp vol vols pp p dr prof mr mrs ms st dept univ ed eds suppl supp incl excl wt at mol calc calcd exptl
    theor nos lett phys chem mater sci res rev nat proc trans soc am int acad appl electrochem jan feb apr jun jul
    aug sept sep oct nov dec"""
)
# The end of a sentence only when a word follows that often begins one.
_SOMETIMES_SHORT = _words("al etc inc ltd co corp jr sr no max min temp conc exp")
_STARTERS = _words(
    """The This These Those That There Their They It Its We Our In On At By For From To With Within Without As An If
    When While Where Here However Moreover Furthermore Therefore Thus Hence Although Though Because Since After
    Before During Both Each All Some Most Many Several Such Another Other One Two Three First Second Third Finally
    Next Then Also Additionally Consequently Recently Similarly Interestingly Notably Figure Table Using Based
    Compared Despite Due Upon Unlike Under Over Between Among Through Via What Which Why How Is Are Was Were Can Not
    No Yes He She His Her Results According Nevertheless Subsequently Overall Meanwhile Specifically Importantly
    Indeed Instead Again A I"""
)
_UNITS = _words("K V A W J N C T F H S M L Å Ω")

_END = re.compile(
    r"""(?P<stop>[.!?…]+)
        (?P<close>["'”’)\]»]*)
        (?P<cite>\[\d[\d,;\s–-]*\]|\d{1,3}(?:[,–-]\d{1,3})*|)
        (?P<gap>\s+)(?=\S)
      | (?P<wide>[。！？｡]+[」』）】〕”’)\]]*)\s*(?=\S)
      | (?P<paragraph>[^\S\n]*\n\s*\n\s*)(?=\S)""",
    re.VERBOSE,
)
_OPENERS = "\"'“‘([«¿¡"
_LAST_WORD = re.compile(r"[^\s(\[{/,;:–—]+$")
_NEXT_WORD = re.compile(r"[^\W\d_]+")
_NUMBERING = re.compile(r"\(?(?:\d{1,3}(?:\.\d{1,3})*|[ivxIVX]{1,4}|[A-Za-z])")
_PREFIXED = re.compile(r"[a-z]{1,4}-[A-Za-z(]")  # "n-Type", "tert-Butanol": a lower-case letter may begin a sentence
_FOLLOWS_QUOTE = re.compile(r"[とっなのをにがは]")  # 「…。」と: the sentence that quotes goes on


def sentences(text: str) -> list[Span]:
    """Return the spans of the sentences of `text`, in order, without the white space between them.

    Every other character is in exactly one span. A blank line ends a sentence, a single line break does not.
    """
    spans: list[Span] = []
    start = 0
    for match in _END.finditer(text):
        if _ends(text, start, match):
            end = match.start() if match["paragraph"] else _stop_end(match)
            spans.append(_trimmed(text, start, end))
            start = match.end()
    spans.append(_trimmed(text, start, len(text)))
    return [span for span in spans if span[1] > span[0]]


def _stop_end(match: re.Match[str]) -> int:
    return match.end("wide") if match["wide"] else match.end("cite")


def _trimmed(text: str, start: int, end: int) -> Span:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def _ends(text: str, start: int, match: re.Match[str]) -> bool:
    if match["paragraph"]:
        return True
    if match["wide"]:
        return not (match["wide"][-1] in "」』）" and _FOLLOWS_QUOTE.match(text, match.end()))
    before = text[start : match.start()].lstrip()
    after = text[match.end() : match.end() + 40].lstrip(_OPENERS)
    if not before or not after or not _may_begin(after):
        return False
    if match["cite"] and not match["cite"].startswith("[") and not _takes_citation(before):
        return False
    return match["stop"] != "." or _full_stop(before, after, opened=text[match.end()] in _OPENERS)


def _may_begin(after: str) -> bool:
    first = after[0]
    return not first.islower() or not first.isascii() or bool(_PREFIXED.match(after))


def _takes_citation(before: str) -> bool:
    """Tell whether digits glued to the full stop can be a citation: "capacity.12" may, "0.12" and "Fig.2" may not."""
    return before[-1].isalpha() or before[-1] in ")]"


def _full_stop(before: str, after: str, *, opened: bool) -> bool:
    """Tell whether a single full stop between `before` and `after` ends a sentence."""
    if _NUMBERING.fullmatch(before):
        return False
    found = _LAST_WORD.search(before)
    word = found[0] if found else ""
    following = _NEXT_WORD.match(after)
    starter = bool(following and following[0] in _STARTERS)
    key = word.casefold().strip("\"'“‘)")
    if key in _ALWAYS_SHORT:
        return False
    if key in _SOMETIMES_SHORT:
        return starter
    if len(key) == 1 and word[-1].isupper():
        return starter or _is_unit(before, word)
    if re.fullmatch(r"(?:[A-Za-z]\.)+[A-Za-z]", word):  # "U.S", "e.g": dotted letters
        return starter
    return not (before[-1].isdigit() and after[0].isdigit() and not opened)


def _is_unit(before: str, word: str) -> bool:
    """Tell whether a single capital closes a quantity ("at 300 K.", "25 °C.") instead of being an initial."""
    return word in _UNITS and bool(re.search(r"[\d)]\s*[^\w\s]?\s*$", before[: -len(word)]))
