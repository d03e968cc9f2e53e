"""What the full-text index is made of: text to index tokens, and a query to an FTS5 match expression.

Both sides go through `tokens`, so whatever is folded in a text is folded in a query. FTS5 only splits at the spaces
written here (`TOKENIZER`); stemming, formulas, units and Chinese and Japanese bigrams are all done before it.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

from ingest import formulas

# The ascii tokenizer keeps every non-ASCII character as part of a token and splits at ASCII punctuation except ".".
TOKENIZER = "ascii tokenchars '.'"
FORMULA_MARK = "ƒ"  # begins the token of a formula, so that no word equals it


def index_text(text: str) -> str:
    """Return the tokens of `text` for a column of the full-text index, separated by spaces."""
    return " ".join(tokens(text))


def match_expression(query: str) -> str:
    """Return an FTS5 expression that matches texts sharing any token with `query`, or "" where it has none.

    Whatever the user types, quotes and operators among it, is data: the expression is always valid.
    """
    return any_of(dict.fromkeys(tokens(query)))


def any_of(terms: Iterator[str] | dict[str, None] | list[str]) -> str:
    """Return the FTS5 expression that matches any of `terms`, which are tokens as `tokens` makes them."""
    return " OR ".join(f'"{term}"' for term in terms)


def tokens(text: str) -> list[str]:
    """Return the index tokens of `text` in order.

    A formula gives a token of its composition key besides its spelling; a hyphenated word gives its parts and itself
    joined; a number gives itself and, before a unit, both joined; a run of Chinese or Japanese gives its bigrams.
    """
    found: list[str] = []
    position = 0
    for formula in formulas.find(text):
        found += _plain_tokens(text[position : formula.start])
        found += _formula_tokens(formula.normal)
        position = formula.end
    found += _plain_tokens(text[position:])
    return found


@lru_cache(maxsize=16384)
def _formula_tokens(normal: str) -> tuple[str, ...]:
    return formula_token(normal), *_spelling(normal)


def formula_token(normal: str) -> str:
    """Return the token of a formula in canonical spelling: equal for all orders of the same elements and counts."""
    key = formulas.composition_key(normal)
    # Case tells Co from CO; the index folds it, so a mark stands between the elements.
    marked = re.sub(r"(?<=.)(?=[A-Z])", "˙", key)
    return FORMULA_MARK + re.sub(r"[^a-z0-9.˙δ]", _spell_sign, marked.lower())


def _spell_sign(match: re.Match[str]) -> str:
    return {"+": "₊", "-": "₋"}.get(match[0], "")


def _spelling(normal: str) -> Iterator[str]:
    """Yield the formula as the words it would be without chemistry: `lifepo4`."""
    yield from re.findall(r"[a-z0-9.]*[a-z0-9]", normal.lower())


# ------------------------------------------------------------------------------------------------------------- words

_CJK = (
    "\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uac00-\ud7af\U00020000-\U0003134f"
)
_UNIT = (
    r"(?:%|°[CF]|mAh(?:/g|\s?g−?-?1)?|Ah|Wh(?:/kg)?|[kMGT]?eV|meV|[mkMμ]?V|[mμn]?A|[kMGT]?Hz|[kMG]?Pa|[kmcnμp]?m|Å|[kmμ]?g|[mμ]?[Ll]"
    r"|[mμn]?s|min|h|K|[mk]?W|[mk]?Ω|[mkM]?S|[kK]?[JN]|kcal|mol|wt|at|vol|ppm|T|C)"
)
_PIECE = re.compile(
    rf"(?P<cjk>[{_CJK}]+)"
    rf"|(?P<number>\d+(?:[.,]\d+)*)(?![^\W\d_])(?:\s?(?P<unit>{_UNIT})(?![^\W_]))?"
    rf"|(?P<word>[^\W_{_CJK}]+(?:[-‐‑'’][^\W_{_CJK}]+)*)"
)
_PARTS = re.compile(r"[-‐‑'’]")


def _plain_tokens(text: str) -> list[str]:
    if not text.isascii():
        # Surrogates cannot be stored as UTF-8; NFKC folds widths, ligatures, sub- and superscripts.
        text = unicodedata.normalize("NFKC", text.encode("utf-8", "ignore").decode())
    found: list[str] = []
    for match in _PIECE.finditer(text):
        if match.lastgroup == "word":
            found += _word(match[0])
        elif match.lastgroup == "cjk":
            found += _bigrams(match[0])
        else:
            found += _number(match["number"], match["unit"])
    return found


def _bigrams(run: str) -> list[str]:
    return [run[index : index + 2] for index in range(len(run) - 1)] or [run]


def _number(digits: str, unit: str | None) -> list[str]:
    if "," in digits:
        digits = digits.replace(",", "" if re.fullmatch(r"\d{1,3}(?:,\d{3})+", digits) else ".")
    return [digits, digits + _unit(unit)] if unit else [digits]


@lru_cache(maxsize=1024)
def _unit(unit: str) -> str:
    return re.sub(r"[^\w°%Å]|_", "", unit).lower().replace("%", "percent")


@lru_cache(maxsize=200_000)
def _word(word: str) -> tuple[str, ...]:
    folded = word.casefold()
    parts = [part for part in _PARTS.split(folded) if part]
    found = [stem(part) for part in parts if part not in STOP_WORDS]
    if len(parts) > 1 and parts[-1] not in {"s", "t"}:
        found.append(stem("".join(parts)))
    return tuple(found)


def stem(word: str) -> str:
    """Return the English stem of a word in lower case (Porter's second stemmer, of the Snowball project)."""
    if word[-1:].isdigit():
        return word  # no suffix to take away, and ids are too many to be remembered
    if not hasattr(_of_thread, "stemmer"):
        import Stemmer

        _of_thread.stemmer = Stemmer.Stemmer("english")
    stemmed: str = _of_thread.stemmer.stemWord(word)
    return stemmed


_of_thread = threading.local()  # a stemmer works on one word at a time


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


STOP_WORDS = _set(
    """a about above after again against all also although am among an and any are as at be because been before being
    below between both but by can cannot could did do does doing done down during each either few for from further
    had has have having he hence her here hers him his how however i if in into is it its itself just may me might
    more most much must my neither no nor not of off on once only onto or other others our out over own per s same
    shall she should since so some such t than that the their them themselves then there therefore these they this
    those through thus to too toward towards under until up upon us very via was we were what when where whereas
    whether which while who whom whose why will with within without would yet you your"""
)
