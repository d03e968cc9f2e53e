"""What the structure tool and the calculator say, in Japanese: line by line, the numbers and names as they are.

The tools speak English, which is what models are shown. A line of a form that is not known here stays as it is; the
test of this module runs every task, so that a new form is noticed.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from assistant.naming import SYSTEMS_JA

_SYSTEM = {english: japanese for japanese, english in reversed(SYSTEMS_JA.items())}
_FORMS: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    (
        r"formula (\S+); the cell holds (\S+): ([\d.]+) sites?, ([\d.]+) formula units?",
        r"化学式 \1、セルの中身 \2: \3サイト、化学式単位 \4",
    ),
    (r"molar mass (\S+) g/mol per formula unit; by mass (.+)", r"モル質量 \1 g/mol(化学式単位あたり)、質量比 \2"),
    (
        r"space group (\S+) \(No\. (\d+)\), (\w+), point group (\S+) \(found within (\S+) Å by spglib\)",
        lambda m: f"空間群 {m[1]} (No. {m[2]})、{_SYSTEM.get(m[3], m[3])}、点群 {m[4]}(spglib、許容差 {m[5]} Å)",
    ),
    (r"density (\S+) g/cm³, computed from the cell", r"密度 \1 g/cm³(セルから計算)"),
    (r"lattice of the given cell: (.+)", r"与えられたセルの格子定数: \1"),
    (r"lattice of the conventional cell: (.+)", r"慣用セルの格子定数: \1"),
    (r"volume (\S+) Å³ per cell, (\S+) Å³ per atom", r"体積 \1 Å³(セルあたり)、\2 Å³(原子あたり)"),
    (
        r"the structure is disordered: some sites are shared or partly empty",
        r"不規則構造です(複数の元素が占める、または部分的に空のサイトがあります)",
    ),
    (
        r"beware: (\S+) and (\S+) are only (\S+) Å apart, as no two atoms are",
        r"注意: \1と\2の距離が\3 Åしかなく、原子間の距離としてありえません",
    ),
    (
        r"the cell is partly empty \((.+)\), as for .+",
        r"セルの一部が空です(\1)。密度と体積は物質そのものの値ではありません",
    ),
    (
        r"(\d+) symmetry-distinct sites?; letters as spglib gives them for the conventional cell",
        r"対称的に異なるサイト \1個(ワイコフ記号は慣用セルについてのspglibの表記)",
    ),
    (r"(\S.*) on (\d+\w+): (\d+) in the cell, first at \((.+)\)", r"\1: \2、セル内に\3個、最初の座標 (\4)"),
    (
        r"(\S+) \(site (\d+)\): coordination number (\d+): (.+)",
        lambda m: f"{m[1]} (サイト{m[2]}): 配位数 {m[3]}: {_shells(m[4])}",
    ),
    (r"neighbours by CrystalNN", r"近接原子の判定: CrystalNN"),
    (
        r"(\d+) powder peaks? up to 2θ = (\S+)° for λ = (\S+) Å \((.+)\); indices of the (given|conventional) cell(.*)",
        lambda m: (
            f"粉末回折ピーク {m[1]}本(2θ ≤ {m[2]}°、λ = {m[3]} Å ({m[4]})、指数は"
            f"{'慣用' if m[5] == 'conventional' else '与えられた'}セル{m[6]}による)"
        ),
    ),
    (r"(\w+): 0, as in any element", r"\1: 0(単体)"),
    (r"oxidation states as the file states them", r"酸化数: ファイルの記載による"),
    (r"oxidation states from bond valences", r"酸化数: 結合原子価による"),
    (r"oxidation states guessed from the composition", r"酸化数: 組成からの推定"),
    (r"beware: as the file states them they would be (.+)", r"注意: ファイルの記載では \1"),
    (r"beware: from bond valences they would be (.+)", r"注意: 結合原子価では \1"),
    (r"beware: guessed from the composition they would be (.+)", r"注意: 組成からの推定では \1"),
    (
        r"beware: these are unusual states of (.+); a metal or an alloy has none",
        r"注意: \1 としては異例の酸化数です。金属や合金に酸化数はありません",
    ),
    (r"supercell (\S+): (\S+), (\d+) sites?", r"スーパーセル \1: \2、\3サイト"),
    (r"its POSCAR stands in the data", r"POSCARはデータ(JSON)にあります"),
    (r"a disordered cell has no POSCAR", r"不規則構造のためPOSCARはありません"),
    (
        r"the two are the same structure, by StructureMatcher .+",
        r"二つは同じ構造です(StructureMatcherの標準の許容差、体積をそろえて比較)",
    ),
    (
        r"the two are different structures, by StructureMatcher .+",
        r"二つは異なる構造です(StructureMatcherの標準の許容差、体積をそろえて比較)",
    ),
    (r"root mean square displacement (\S+) (\S+)", r"原子変位の二乗平均平方根 \1 \2"),
    (
        r"but of one structure type: with other elements on the same places",
        r"ただし同じ構造型です(同じ位置に別の元素)",
    ),
    (
        r"(.+): (\S+), (\S+) \(No\. (\d+)\), density (\S+) g/cm³, volume (\S+) Å³ per atom",
        r"\1: \2、\3 (No. \4)、密度 \5 g/cm³、体積 \6 Å³(原子あたり)",
    ),
    (
        r"from the first to the second the volume per atom changes by (\S+) %",
        r"一つ目から二つ目への原子あたりの体積変化 \1 %",
    ),
    (r"… and (\d+) more", r"…ほか\1件"),
    (r"note: (.+)", r"注: \1"),
)
_COMPILED = tuple((re.compile(form), japanese) for form, japanese in _FORMS)
_NOTES = (
    (re.compile(r"\(through (E = [^;)]+)"), r"(\1 による"),
    (re.compile(r"per mole through the Avogadro constant"), "アボガドロ定数により1 molあたり"),
    (re.compile(r"per particle through the Avogadro constant"), "アボガドロ定数により1個あたり"),
)


def structure_line(line: str) -> str:
    """Return a line of the structure tool in Japanese."""
    for form, japanese in _COMPILED:
        if found := form.fullmatch(line):
            return japanese(found) if callable(japanese) else found.expand(japanese)
    return line


def calculation(text: str) -> str:
    """Return a result of the calculator with its notes in Japanese."""
    for form, japanese in _NOTES:
        text = form.sub(japanese, text)
    return text


def _shells(told: str) -> str:
    if told == "none":
        return "なし"
    return "、".join(re.sub(r"(\d+) (\S+) at (\S+) Å", r"\2 \1個 \3 Å", shell) for shell in told.split(", "))
