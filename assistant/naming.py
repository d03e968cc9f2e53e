"""The materials that a question names: ids, formulas, compounds and minerals by name, elements, in both languages.

What a name stands for is in `assistant.synonyms`; which crystal form a mineral or a structure type is, stands here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from assistant import glossary, synonyms
from ingest import formulas
from ingest.elements import NAMES, NUMBERS


@dataclass(frozen=True, slots=True)
class Named:
    """A material at `[start, end)` of a text: an id, a formula, or the elements of an open name ("iron oxide").

    `spacegroups` are the numbers that a mineral's name or a structure type stands for; `system` a crystal system.
    """

    text: str
    start: int
    end: int
    id: str = ""
    formula: str = ""
    chemsys: str = ""
    spacegroups: tuple[int, ...] = ()
    system: str = ""

    @property
    def key(self) -> tuple[str, tuple[int, ...], str]:
        """Return what makes two mentions the same material."""
        return (self.id or self.formula or self.chemsys, self.spacegroups, self.system)


SYSTEMS = ("cubic", "tetragonal", "orthorhombic", "monoclinic", "triclinic", "trigonal", "hexagonal")
SYSTEMS_JA = {
    "立方晶": "cubic", "正方晶": "tetragonal", "直方晶": "orthorhombic", "斜方晶": "orthorhombic",
    "単斜晶": "monoclinic", "三斜晶": "triclinic", "三方晶": "trigonal", "六方晶": "hexagonal",
}  # fmt: skip
# Minerals and elemental forms, by the space group they crystallise in; both hands where there are two.
_FORMS = {
    "rutile": (136,), "anatase": (141,), "brookite": (61,), "quartz": (152, 154),
    "cristobalite": (92, 96),
    "coesite": (15,),
    "stishovite": (136,), "corundum": (167,), "sapphire": (167,), "baddeleyite": (14,), "zincite": (186,),
    "hematite": (167,), "haematite": (167,), "magnetite": (227,), "pyrite": (205,), "marcasite": (58,),
    "sphalerite": (216,), "cuprite": (224,), "galena": (225,), "cassiterite": (136,), "halite": (225,),
    "fluorite": (225,), "calcite": (167,), "aragonite": (62,), "anhydrite": (63,), "barite": (62,), "periclase": (225,),
    "molybdenite": (194, 160), "chalcopyrite": (122,),
}  # fmt: skip
_ELEMENTAL = {"diamond": ("C", (227,)), "graphite": ("C", (194,)), "ダイヤモンド": ("C", (227,)), "黒鉛": ("C", (194,))}
_TYPES = {
    r"wurtzite|ウルツ鉱型?": (186,), r"zinc[ -]?blende|sphalerite|閃亜鉛鉱型?": (216,),
    r"rock[ -]?salt|岩塩型?": (225,),
    r"rutile|ルチル型?": (136,), r"anatase|アナターゼ型?": (141,), r"brookite|ブルッカイト型?": (61,),
    r"fluorite|蛍石型?": (225,),
}  # fmt: skip
_ID = re.compile(
    r"(?<![\w-])(mp|mvc|mol)(?:[-‐‑‒–−]| (?=\d{2,}(?!\d|\s*(?:°|K\b|deg))))(\d+)(?![0-9A-Za-z.]\d|[0-9A-Za-z])",
    re.IGNORECASE,
)
_SYMBOL = re.compile(r"(?<![A-Za-z0-9⁺+(-])([A-Z][a-z]?)(?![A-Za-z0-9+⁺-])")
_WORDS = {"In", "As", "At", "He", "Be", "No", "Am", "I", "Os", "Es", "Hs", "Ho", "Pa", "Ra", "Mt", "Fm"}
# What may follow an element that is the material spoken of, rather than the "lithium" of a lithium battery.
_FREE = (
    r"\s+[(（]|\s*(?:$|[?.!,;:)\]？。、]|(?:and|or|vs|versus|than|at|with|have|has|had|is|are|was|were|be|been|compared|to|from|under|by|"
    r"as|in|on|but|not|if|when|while|per|does|do|did|can|equals?|larger|smaller|higher|lower|denser|measured|computed|given|"
    r"reported|according|differ|crystals?|metals?|band|gap|bandgap|density|densities|formation|bulk|shear|lattice|space|"
    r"spacegroup|symmetry|magneti\w+|volume|cell|polymorphs?|allotropes?|XRD|stable|energy|powder)\b|の|は|と|や|を|が|で|に|より)"
)
_FREE_AFTER = re.compile(_FREE, re.IGNORECASE)
_BEFORE_A_LETTER = re.compile(r"(?:\b(?:of|between|or|and|vs\.?|versus|than)|,)\s+$", re.IGNORECASE)
_KANJI_ELEMENTS = {"鉄": "Fe", "銅": "Cu", "銀": "Ag", "金": "Au", "鉛": "Pb"}
_KANJI = re.compile(r"(?<![一-鿿ァ-ヶ])([鉄銅銀金鉛])(?=[のはとやをが、])")
_PREFIXES_JA = {"一": "mon", "二": "di", "三": "tri", "四": "tetra", "五": "pent"}


def materials_in(text: str) -> list[Named]:
    """Return the materials that a text names, in order, each once; the longest name at each place."""
    found: list[Named] = []
    every = [*_ids(text)]
    bare = _blanked(text, every)
    every += [*_formulas(bare), *_names(bare), *_japanese(bare)]
    every += _elements(_blanked(bare, every))
    for one in sorted(every, key=lambda one: (one.start, -one.end)):
        if not found or one.start >= found[-1].end:
            found.append(one)
    merged = _with_forms(found, text)
    return list({one.key: one for one in reversed(merged)}.values())[::-1]


def ids_in(text: str) -> list[str]:
    """Return the ids of records that a text names, as records write them."""
    return list(dict.fromkeys(one.id for one in _ids(text)))


def _ids(text: str) -> Iterator[Named]:
    for match in _ID.finditer(text):
        yield Named(match[0], match.start(), match.end(), id=f"{match[1].lower()}-{match[2]}")


def _formulas(text: str) -> Iterator[Named]:
    for formula in formulas.find(text):
        if _is_definite(formula.normal):
            yield Named(formula.raw, formula.start, formula.end, formula=formula.normal)


def _is_definite(formula: str) -> bool:
    try:
        return bool(formulas.amounts(formula))
    except ValueError:  # Al1-xGdxN is as many compounds as x has values
        return False


def _names(text: str) -> Iterator[Named]:
    for one in synonyms.named(text):
        if one.formula:
            name = text[one.start : one.end]
            yield Named(name, one.start, one.end, formula=one.formula, spacegroups=_FORMS.get(name.casefold(), ()))
    for start, end, chemsys in synonyms.open_names(text):
        yield Named(text[start:end], start, end, chemsys=chemsys)
    for match in re.finditer("|".join(_ELEMENTAL), text, re.IGNORECASE):
        if _FREE_AFTER.match(text, match.end()):
            formula, groups = _ELEMENTAL[match[0].casefold()]
            yield Named(match[0], match.start(), match.end(), formula=formula, spacegroups=groups)


def _japanese(text: str) -> Iterator[Named]:
    """Yield the compounds and elements that the glossary knows by their Japanese names."""
    if not glossary.SCRIPT.search(text):
        return
    start = 0
    for part in glossary.split(text):
        end = start + len(part.text)
        if part.english and _FREE_AFTER.match(text, end):
            begins, english = start, part.english[0]
            if start and (prefix := _PREFIXES_JA.get(text[start - 1])) and len(english.split()) == 2:
                begins, english = start - 1, " ".join((english.split()[0], prefix + english.split()[1]))
            if named := _of_english(english):
                yield replace(named, text=text[begins:end], start=begins, end=end)
        start = end
    for match in _KANJI.finditer(text):
        yield Named(match[0], match.start(), match.end(), formula=_KANJI_ELEMENTS[match[0]])


def _of_english(name: str) -> Named | None:
    if symbol := NAMES.get(name.casefold()):
        return Named(name, 0, 0, formula=symbol)
    found = [one for one in (*_formulas(name), *_names(name)) if (one.start, one.end) == (0, len(name))]
    return found[0] if found else None


def _elements(text: str) -> Iterator[Named]:
    """Yield the elements that stand alone, by name or symbol, where they are no part of another name."""
    for match in re.finditer(r"(?<![\w-])[A-Za-z]{3,}(?![\w-])", text):
        symbol = NAMES.get(match[0].casefold())
        if symbol and _FREE_AFTER.match(text, match.end()):
            yield Named(match[0], match.start(), match.end(), formula=symbol)
    symbols = [match for match in _SYMBOL.finditer(text) if match[1] in NUMBERS]
    for match in symbols:
        joined = _BEFORE_A_LETTER.search(text[: match.start()])
        plain = len(match[1]) == 2 and match[1] not in _WORDS
        if (plain or (joined and match[1] != "I")) and _FREE_AFTER.match(text, match.end()):
            yield Named(match[0], match.start(), match.end(), formula=match[1])


def _with_forms(found: list[Named], text: str) -> list[Named]:
    """Return the materials with the structure type or crystal system that stands beside them: "wurtzite GaN"."""
    merged: list[Named] = []
    for one in found:
        before = text[merged[-1].end if merged else 0 : one.start]
        if merged and one.formula and merged[-1].formula == one.formula and before.strip(" (（のof") == "":
            kept = merged.pop()  # "anatase TiO2", "silicon (Si)"
            groups = kept.spacegroups or one.spacegroups
            one = replace(kept, end=one.end, text=text[kept.start : one.end], spacegroups=groups)
        elif one.formula and not one.spacegroups:
            one = _typed(one, before)
        merged.append(one)
    return merged


def _typed(one: Named, before: str) -> Named:
    for words, groups in _TYPES.items():
        if re.search(rf"(?:{words})[ -]?(?:type |phase |の)?\s*$", before, re.IGNORECASE):
            return replace(one, spacegroups=groups)
    for word, system in (*((name, name) for name in SYSTEMS), *SYSTEMS_JA.items()):
        if re.search(rf"{word}\w?の?\s*$", before, re.IGNORECASE):
            return replace(one, system=system)
    return one


def _blanked(text: str, found: list[Named]) -> str:
    for one in found:
        text = text[: one.start] + " " * (one.end - one.start) + text[one.end :]
    return text
