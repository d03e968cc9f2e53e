"""What else a material is called: abbreviations, minerals, polymorphs, systematic names and formulas of one compound.

Written for matlit. A library says "LFP" where a question says "lithium iron phosphate" or LiFePO4; names that stand for
a structure type as often as for a compound (perovskite, spinel, garnet) are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from math import gcd

from ingest import formulas
from ingest.elements import NAMES, NUMBERS, english_name, oxidation_states

# The formula first, then the names, usual ones first; capitals alone are abbreviations and are read as such only.
_GROUPS = """
LiFePO4|LFP|lithium iron phosphate|triphylite
LiCoO2|LCO|lithium cobalt oxide|lithium cobaltate
LiMn2O4|LMO|lithium manganese oxide|lithium manganate
LiNi0.5Mn1.5O4|LNMO|lithium nickel manganese oxide
LiNi1/3Mn1/3Co1/3O2|NMC|NCM|lithium nickel manganese cobalt oxide
LiNi0.8Co0.15Al0.05O2|NCA|lithium nickel cobalt aluminium oxide|lithium nickel cobalt aluminum oxide
Li4Ti5O12|LTO|lithium titanate|lithium titanium oxide
Li7La3Zr2O12|LLZO|lithium lanthanum zirconium oxide
Li10GeP2S12|LGPS|lithium germanium thiophosphate
Li2CO3|lithium carbonate
LiPF6|lithium hexafluorophosphate
CH3NH3PbI3|MAPI|MAPbI3|methylammonium lead iodide|methylammonium lead triiodide
CH(NH2)2PbI3|FAPI|FAPbI3|formamidinium lead iodide
CsPbI3|caesium lead iodide|cesium lead iodide
Cu2ZnSnS4|CZTS|copper zinc tin sulfide
CuInSe2|copper indium selenide
YBa2Cu3O7|YBCO|yttrium barium copper oxide
BaTiO3|BTO|barium titanate
SrTiO3|strontium titanate
PbTiO3|lead titanate
CaTiO3|calcium titanate
LiNbO3|lithium niobate
BiFeO3|BFO|bismuth ferrite
PbZrO3|lead zirconate
BaZrS3|barium zirconium sulfide
Y3Al5O12|YAG|yttrium aluminium garnet|yttrium aluminum garnet
TiO2|titania|titanium dioxide
SiO2|silica|silicon dioxide
Al2O3|alumina|aluminium oxide|aluminum oxide
ZrO2|zirconia|zirconium dioxide
CeO2|ceria|cerium dioxide
MgO|magnesia
Y2O3|yttria
Fe2O3|iron(III) oxide
FeO|iron(II) oxide
Fe3C|cementite|iron carbide
Cu2O|cuprous oxide
PbS|lead sulfide
PbTe|lead telluride
PbI2|lead iodide
SnO2|tin dioxide
SnS|tin sulfide
CaCO3|calcium carbonate
CaSO4|calcium sulfate
BaSO4|barium sulfate
MgAl2O4|magnesium aluminate
SiC|silicon carbide|carborundum
WC|tungsten carbide
TiC|titanium carbide
TiN|titanium nitride
B4C|boron carbide
MoS2|molybdenum disulfide|molybdenum disulphide
Ca5(PO4)3OH|hydroxyapatite
H2SO4|sulfuric acid|sulphuric acid
HNO3|nitric acid
KOH|potassium hydroxide
NaOH|sodium hydroxide
"""
# Names of one crystal form each. They imply the formula, but the formula does not imply them, nor does one the other.
_FORMS = """
TiO2|rutile|anatase|brookite
SiO2|quartz|cristobalite|tridymite|coesite|stishovite
Al2O3|corundum|sapphire
ZrO2|baddeleyite
ZnO|zincite
Fe2O3|hematite|haematite|maghemite
Fe3O4|magnetite
FeO|wüstite|wustite
FeS2|pyrite|marcasite
ZnS|sphalerite
Cu2O|cuprite
Cu2ZnSnS4|kesterite
CuFeS2|chalcopyrite
PbS|galena
SnO2|cassiterite
SnS|herzenbergite
NaCl|halite
CaF2|fluorite
CaCO3|calcite|aragonite|vaterite
CaSO4|anhydrite
BaSO4|barite
MgO|periclase
MoS2|molybdenite
SrTiO3|tausonite
"""
_ANIONS = {  # ending -> symbol and charge
    "oxide": ("O", 2), "sulfide": ("S", 2), "sulphide": ("S", 2), "selenide": ("Se", 2), "telluride": ("Te", 2),
    "nitride": ("N", 3), "phosphide": ("P", 3), "arsenide": ("As", 3), "antimonide": ("Sb", 3),
    "fluoride": ("F", 1), "chloride": ("Cl", 1), "bromide": ("Br", 1), "iodide": ("I", 1),
}  # fmt: skip
_COUNTS = {"mono": 1, "mon": 1, "di": 2, "tri": 3, "tetra": 4, "tetr": 4, "penta": 5, "pent": 5, "hexa": 6, "hex": 6}
_ROMAN = {"I": 1, "II": 2, "III": 3, "IV": 4, "V": 5, "VI": 6}
_METALS = sorted((name for name in NAMES if name.isascii() and name != "hydrogen"), key=len, reverse=True)
_SYSTEMATIC = re.compile(
    rf"\b(?P<metal>{'|'.join(_METALS)}|lead)(?: ?\((?P<state>I{{1,3}}|IV|VI?)\))?[ -]"
    rf"(?P<count>{'|'.join(_COUNTS)})?(?P<anion>{'|'.join(_ANIONS)})s?\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Named:
    """A name or formula at `[start, end)` of a text; `formula` and `names` are what else the compound is called."""

    start: int
    end: int
    formula: str  # "" where the text has it itself
    names: tuple[str, ...]

    @property
    def others(self) -> tuple[str, ...]:
        """Return everything else the compound is called, the formula first."""
        return (self.formula, *self.names) if self.formula else self.names


def named(text: str) -> list[Named]:
    """Return the compounds that `text` names, in order, the longest name at each place."""
    found: list[Named] = []
    for each in sorted((*_listed(text), *_systematic(text), *_written(text)), key=lambda n: (n.start, -n.end)):
        if not found or each.start >= found[-1].end:
            found.append(each)
    return found


def others(text: str) -> list[str]:
    """Return what else the compounds of `text` are called, each once."""
    return list(dict.fromkeys(other for each in named(text) for other in each.others))


def open_names(text: str) -> list[tuple[int, int, str]]:
    """Return the names that leave the formula open, "iron oxide", as (start, end, chemical system)."""
    return [
        (match.start(), match.end(), "-".join(sorted(pair)))
        for match in _SYSTEMATIC.finditer(text)
        if len(pair := {_metal(match), _ANIONS[match["anion"].lower()][0]}) == 2 and not _formula(match)
    ]


def _listed(text: str) -> Iterator[Named]:
    groups, pattern = _table()
    for match in pattern.finditer(text):
        name = match[0] if match[0].isupper() else match[0].casefold()
        if name in groups:
            formula, *names = groups[name]
            yield Named(match.start(), match.end(), formula, tuple(n for n in names if _folded(n) != name))


def _systematic(text: str) -> Iterator[Named]:
    for match in _SYSTEMATIC.finditer(text):
        if formula := _formula(match):
            yield Named(match.start(), match.end(), formula, _names(formula, besides=match[0]))


def _written(text: str) -> Iterator[Named]:
    for formula in formulas.find(text):
        if names := _names(formula.normal):
            yield Named(formula.start, formula.end, "", names)


def _formula(match: re.Match[str]) -> str:
    """Return the formula of a name such as "zinc oxide" or "titanium(IV) oxide" where charges leave one only."""
    metal = _metal(match)
    anion, charge = _ANIONS[match["anion"].lower()]
    if metal == anion:
        return ""
    possible = [state for state in oxidation_states(NUMBERS[metal]) if state > 0]
    if match["count"]:
        count = _COUNTS[match["count"].lower()]
        # Vanadium pentoxide and antimony trioxide count the oxygen of two metal atoms.
        two = anion == "O" and count % 2 and count > 1 and count * charge not in possible and count in possible
        return f"{metal}{'2' if two else ''}{anion}{_times(count)}"
    states = [_ROMAN[match["state"]]] if match["state"] else possible
    # Transition metals' nitrides and the like are not ionic.
    if len(states) != 1 or (charge == 3 and metal not in _IONIC):
        return ""
    shared = gcd(states[0], charge)
    return f"{metal}{_times(charge // shared)}{anion}{_times(states[0] // shared)}"


def _metal(match: re.Match[str]) -> str:
    return "Pb" if match["metal"].lower() == "lead" else NAMES[match["metal"].lower()]


_IONIC = frozenset(["Li", "Na", "K", "Be", "Mg", "Ca", "Sr", "Ba", "B", "Al", "Ga", "In", "Si", "Sc", "Y", "La", "Gd"])


def _times(count: int) -> str:
    return "" if count == 1 else str(count)


def _names(formula: str, *, besides: str = "") -> tuple[str, ...]:
    """Return the listed names of a formula, or the systematic one of a binary compound."""
    listed = _by_formula().get(formulas.composition_key(formula), ())
    return tuple(name for name in listed or _systematic_names(formula) if name.casefold() != besides.casefold())


@cache
def _systematic_names(formula: str) -> tuple[str, ...]:
    parts = re.findall(r"[A-Z][a-z]?", formula)
    if len(parts) != 2 or not NUMBERS.keys() >= set(parts):  # CxO has a variable
        return ()
    for ending, (symbol, _) in _ANIONS.items():
        if symbol == parts[1] and ending != "sulphide":
            name = f"{english_name(parts[0])} {ending}"
            match = _SYSTEMATIC.fullmatch(name)
            return (name,) if match and _formula(match) == formula else ()
    return ()


@cache
def _table() -> tuple[dict[str, tuple[str, ...]], re.Pattern[str]]:
    """Return formula and names by each name, and the pattern that finds the names."""
    groups = {_folded(name): row for row in _rows(_GROUPS) for name in row[1:]}
    groups |= {_folded(name): row[:1] for row in _rows(_FORMS) for name in row[1:]}
    longest_first = sorted(groups, key=len, reverse=True)
    abbreviations = "|".join(re.escape(name) for name in longest_first if name.isupper())
    words = "|".join(re.escape(name) for name in longest_first if not name.isupper())
    return groups, re.compile(rf"(?<![A-Za-z0-9])(?:{abbreviations}|(?i:{words}))(?![A-Za-z0-9])")


@cache
def _by_formula() -> dict[str, tuple[str, ...]]:
    return {_key(row[0]): row[1:] for row in _rows(_GROUPS)}


def _rows(table: str) -> list[tuple[str, ...]]:
    return [tuple(line.split("|")) for line in table.strip().splitlines()]


def _folded(name: str) -> str:
    return name if name.isupper() else name.casefold()


def _key(formula: str) -> str:
    return formulas.composition_key(formulas.normalise(formula) or formula)
