"""The properties that a question may ask for by name: their words in both languages, and where tools tell them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches


@dataclass(frozen=True, slots=True)
class Property:
    """A property that tools know: the words for it, its field and order in records, and where `structure` tells it."""

    field: str
    words: re.Pattern[str]
    name: str
    name_ja: str
    sort: str = ""  # the records' name for ordering by it
    line: str = ""  # how the structure tool's line for it begins
    task: str = ""  # of the structure tool


def _property(field: str, words: str, name: str, name_ja: str, **more: str) -> Property:
    return Property(field, re.compile(words, re.IGNORECASE), name, name_ja, **more)


PROPERTIES = (
    _property(
        "band_gap_ev",
        r"band ?-?gaps?|\bgaps?\b|(?:バンド)?ギャップ(?!長)|禁制帯幅",
        "band gap",
        "バンドギャップ",
        sort="band_gap",
    ),
    _property(
        "is_gap_direct",
        r"\b(?:in)?direct(?=[ -](?:band[ -]?)?gap\b|[ -]?(?:semiconductor|transition)|\s*\?|\s+or\s+(?:in)?direct)"
        r"|\bgap (?:is )?(?:in)?direct\b|(?:直接|間接)(?:遷移|ギャップ|型|バンド)",
        "whether the gap is direct",
        "直接遷移か間接遷移か",
    ),
    _property(
        "density_g_cm3",
        r"(?<!current )(?<!energy )(?<!charge )(?<!carrier )(?<!power )(?<!number )(?<!defect )(?<!dislocation )"
        r"\bdens(?:ity|ities|e|er|est)\b(?! of states| functional)|(?<!流)(?<!ー)(?<!荷)(?<!態)(?<!度)密度",
        "density",
        "密度",
        sort="density",
        line="density",
    ),
    _property(
        "formation_energy_ev_per_atom",
        r"formation (?:energy|energies|enthalpy)|生成(?:エネルギー|エンタルピー)",
        "formation energy",
        "生成エネルギー",
        sort="formation_energy",
    ),
    _property(
        "e_above_hull_ev_per_atom",
        r"above (?:the )?(?:convex )?hull|\b(?:most|thermodynamically|meta) ?stable\b|(?:thermodynamic|phase) stability"
        r"|ground[ -]state|hull energy|\b(?:is|are)\b[^,;]{0,40}\bstable\b(?!\s+\w)|\bstable\s*[?.]*\s*$"
        r"|decompos\w+ energy"
        r"|(?<!クル)(?<!熱)(?<!学)(?<!的)(?<!造)(?<!中)安定(?!化)|基底状態",
        "energy above hull",
        "凸包からのエネルギー",
        sort="e_above_hull",
    ),
    _property("k_vrh_gpa", r"bulk modul(?:us|i)|体積弾性率", "bulk modulus", "体積弾性率", sort="k_vrh"),
    _property("g_vrh_gpa", r"shear modul(?:us|i)|せん断弾性率|剛性率", "shear modulus", "せん断弾性率", sort="g_vrh"),
    _property(
        "magnetisation_ub",
        r"magneti[sz]ation|magnetic moment|磁化|磁気モーメント",
        "total magnetisation",
        "全磁化",
        sort="magnetisation",
    ),
    _property(
        "volume_a3",
        r"(?:cell|unit cell) volume|(?<!pore )(?<!free )(?<!molar )\bvolume of\b(?! (?:the )?(?:pores?|solution|water|"
        r"electrolyte))|(?:格子|セル)体積|(?<=の)体積(?!弾|変|膨|分)",
        "volume",
        "格子体積",
        sort="volume",
        line="volume",
    ),
    _property(
        "spacegroup",
        r"space ?group|crystal system|symmetry|\b(?:is|are)\b[^,;]{0,30}\b(?:cubic|tetragonal|orthorhombic|monoclinic|"
        r"triclinic|trigonal|hexagonal)\b\s*[?.]*\s*$|crystal structure of|空間群|結晶系|対称性|結晶構造",
        "space group",
        "空間群",
        line="space group",
    ),
    _property(
        "lattice",
        r"lattice (?:parameter|constant)s?|cell parameters?|格子定数",
        "lattice parameters",
        "格子定数",
        line="lattice",
        task="summary",
    ),
    _property(
        "molar_mass",
        r"molar mass|molecular weight|formula weight|(?:mass|weight|heavy is) (?:of )?(?:a|one|1) mole?\b"
        r"|モル質量|分子量|式量",
        "molar mass",
        "モル質量",
        line="molar mass",
        task="summary",
    ),
    _property(
        "xrd",
        r"(?<![A-Za-z])XRD(?![A-Za-z])|diffraction|diffractogram|X-ray (?:peaks?|pattern)|\b2θ\b|回折",
        "diffraction peaks",
        "回折ピーク",
        task="xrd",
    ),
    _property(
        "neighbours",
        r"coordination|nearest neighbou?rs?|bond (?:length|distance)s?|配位|最近接|結合(?:長|距離)",
        "coordination and bond lengths",
        "配位と結合距離",
        task="neighbours",
    ),
    _property(
        "oxidation",
        r"oxidation (?:states?|numbers?)|valence states?|酸化数|価数",
        "oxidation states",
        "酸化数",
        task="oxidation_states",
    ),
    _property(
        "sites", r"wyckoff|atomic positions?|ワイコフ|原子位置|原子座標", "atomic positions", "原子位置", task="sites"
    ),
    _property(
        "cell_contents",
        r"(?:how many|number of) (?:\w+ )?(?:atoms|ions|sites|formula units)"
        r"|\batoms (?:in|per) (?:the |a )?(?:unit )?cell"
        r"|(?:格子|セル|胞)[^。]{0,8}原子|原子数|化学式単位",
        "the atoms of the cell",
        "セル中の原子",
        line="formula",
        task="summary",
    ),
    _property("supercell", r"super ?-?cell|超格子|スーパーセル", "supercell", "スーパーセル", task="supercell"),
)
BY_FIELD = {prop.field: prop for prop in PROPERTIES}
_SPELT = (
    "density", "lattice", "modulus", "symmetry", "magnetization", "coordination", "diffraction", "oxidation",
    "formation", "polymorph", "polymorphs", "wyckoff", "bandgap", "spacegroup", "supercell", "stable",
)  # fmt: skip


def wanted_in(clause: str) -> tuple[Property, ...]:
    """Return the properties that a clause names; where it names none, those of words that are misspelled."""
    found = tuple(prop for prop in PROPERTIES if prop.words.search(clause))
    if found:
        return found
    respelt = re.sub(r"[A-Za-z]{5,}", _respelt, clause)
    return tuple(prop for prop in PROPERTIES if prop.words.search(respelt)) if respelt != clause else ()


def _respelt(word: re.Match[str]) -> str:
    close = get_close_matches(word[0].casefold(), _SPELT, n=1, cutoff=0.87)
    return close[0] if close else word[0]
