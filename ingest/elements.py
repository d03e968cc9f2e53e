"""The chemical elements: symbols, English and Japanese names, atomic weights, and properties as numbers.

Names are IUPAC's (2016 and after) and those of the Chemical Society of Japan. Weights are standard atomic weights, or
the mass number of the longest-lived isotope where there is none. The properties of the elements 1 to 103 are facts as
tabulated in pymatgen's periodic table and its sources: Pauling electronegativities, calculated (Clementi 1967) and
empirical (Slater 1964) atomic radii, van der Waals and metallic radii (ångström), electron affinity and ionisation
energies (eV, NIST), melting points (K), molar volumes (cm³/mol), Mendeleev numbers (Pettifor 1984), LDA orbital
energies of the neutral atom (hartree, NIST, Kotochigova 1997), and the bond valence parameters r (ångström) and c of
O'Keeffe and Brese, J. Am. Chem. Soc. 113, 3226 (1991). A dash in the table means that no value is published.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # reading formulas in a text must not wait for numpy
    import numpy as np
    import numpy.typing as npt

# symbol, English name, Japanese name, atomic weight (u); by atomic number
_NAMES = """
H hydrogen 水素 1.00794|He helium ヘリウム 4.0026|Li lithium リチウム 6.941|Be beryllium ベリリウム 9.01218
B boron ホウ素 10.811|C carbon 炭素 12.0107|N nitrogen 窒素 14.0067|O oxygen 酸素 15.9994|F fluorine フッ素 18.9984
Ne neon ネオン 20.1797|Na sodium ナトリウム 22.9898|Mg magnesium マグネシウム 24.305
Al aluminium アルミニウム 26.9815|Si silicon ケイ素 28.0855|P phosphorus リン 30.9738|S sulfur 硫黄 32.065
Cl chlorine 塩素 35.453|Ar argon アルゴン 39.948|K potassium カリウム 39.0983|Ca calcium カルシウム 40.078
Sc scandium スカンジウム 44.9559|Ti titanium チタン 47.867|V vanadium バナジウム 50.9415|Cr chromium クロム 51.9961
Mn manganese マンガン 54.938|Fe iron 鉄 55.845|Co cobalt コバルト 58.9332|Ni nickel ニッケル 58.6934
Cu copper 銅 63.546|Zn zinc 亜鉛 65.409|Ga gallium ガリウム 69.723|Ge germanium ゲルマニウム 72.64
As arsenic ヒ素 74.9216|Se selenium セレン 78.96|Br bromine 臭素 79.904|Kr krypton クリプトン 83.798
Rb rubidium ルビジウム 85.4678|Sr strontium ストロンチウム 87.62|Y yttrium イットリウム 88.9059
Zr zirconium ジルコニウム 91.224|Nb niobium ニオブ 92.9064|Mo molybdenum モリブデン 95.94
Tc technetium テクネチウム 98|Ru ruthenium ルテニウム 101.07|Rh rhodium ロジウム 102.906
Pd palladium パラジウム 106.42|Ag silver 銀 107.868|Cd cadmium カドミウム 112.411|In indium インジウム 114.818
Sn tin スズ 118.71|Sb antimony アンチモン 121.76|Te tellurium テルル 127.6|I iodine ヨウ素 126.904
Xe xenon キセノン 131.293|Cs caesium セシウム 132.905|Ba barium バリウム 137.327|La lanthanum ランタン 138.905
Ce cerium セリウム 140.116|Pr praseodymium プラセオジム 140.908|Nd neodymium ネオジム 144.242
Pm promethium プロメチウム 145|Sm samarium サマリウム 150.36|Eu europium ユウロピウム 151.964
Gd gadolinium ガドリニウム 157.25|Tb terbium テルビウム 158.925|Dy dysprosium ジスプロシウム 162.5
Ho holmium ホルミウム 164.93|Er erbium エルビウム 167.259|Tm thulium ツリウム 168.934
Yb ytterbium イッテルビウム 173.04|Lu lutetium ルテチウム 174.967|Hf hafnium ハフニウム 178.49
Ta tantalum タンタル 180.948|W tungsten タングステン 183.84|Re rhenium レニウム 186.207|Os osmium オスミウム 190.23
Ir iridium イリジウム 192.217|Pt platinum 白金 195.084|Au gold 金 196.967|Hg mercury 水銀 200.59
Tl thallium タリウム 204.383|Pb lead 鉛 207.2|Bi bismuth ビスマス 208.98|Po polonium ポロニウム 210
At astatine アスタチン 210|Rn radon ラドン 220|Fr francium フランシウム 223|Ra radium ラジウム 226
Ac actinium アクチニウム 227|Th thorium トリウム 232.038|Pa protactinium プロトアクチニウム 231.036
U uranium ウラン 238.029|Np neptunium ネプツニウム 237|Pu plutonium プルトニウム 244|Am americium アメリシウム 243
Cm curium キュリウム 247|Bk berkelium バークリウム 247|Cf californium カリホルニウム 251
Es einsteinium アインスタイニウム 252|Fm fermium フェルミウム 257|Md mendelevium メンデレビウム 258
No nobelium ノーベリウム 259|Lr lawrencium ローレンシウム 262|Rf rutherfordium ラザホージウム 267
Db dubnium ドブニウム 268|Sg seaborgium シーボーギウム 269|Bh bohrium ボーリウム 270|Hs hassium ハッシウム 270
Mt meitnerium マイトネリウム 278|Ds darmstadtium ダームスタチウム 281|Rg roentgenium レントゲニウム 282
Cn copernicium コペルニシウム 285|Nh nihonium ニホニウム 286|Fl flerovium フレロビウム 289
Mc moscovium モスコビウム 290|Lv livermorium リバモリウム 293|Ts tennessine テネシン 294|Og oganesson オガネソン 294
"""
_NAMED = tuple(tuple(entry.split()) for line in _NAMES.strip().splitlines() for entry in line.split("|"))

SYMBOLS: tuple[str, ...] = ("", *(row[0] for row in _NAMED))  # by atomic number
NUMBERS: dict[str, int] = {symbol: number for number, symbol in enumerate(SYMBOLS) if symbol}
WEIGHTS_U: dict[str, float] = {row[0]: float(row[3]) for row in _NAMED}

# "lead" is mostly a verb, and 金 (gold) and リン (phosphorus) are parts of many Japanese words: 金属, 合金, プリント.
_MISLEADING = {"lead", "金", "リン"}
_OTHER_SPELLINGS = {
    "aluminum": "Al",
    "sulphur": "S",
    "cesium": "Cs",
    "wolfram": "W",
    "シリコン": "Si",
    "珪素": "Si",
    "弗素": "F",
    "砒素": "As",
    "燐": "P",
    "プラチナ": "Pt",
    "リチウム": "Li",
    "錫": "Sn",
}
_EVERY_NAME = {name: row[0] for row in _NAMED for name in row[1:3]} | _OTHER_SPELLINGS
NAMES: dict[str, str] = {name: symbol for name, symbol in _EVERY_NAME.items() if name not in _MISLEADING}

# Symbols that are hardly ever anything else when they stand alone in a scientific text.
_BARE = """
Li Na Mg Al Si Ca Ti Cr Mn Fe Ni Cu Zn Ga Ge Rb Sr Zr Nb Ru Rh Pd Ag Cd Sn Sb Cs Ba Ce Gd Hf Pt Au Hg Pb Bi Yb
"""
BARE_SYMBOLS: frozenset[str] = frozenset(_BARE.split())

LAST = 103  # lawrencium: nothing is tabulated beyond it

# The column of `table()` that holds each property, in this order.
PROPERTIES = (
    "electronegativity",
    "row",
    "group",
    "mendeleev",
    "radius_calculated",
    "radius_empirical",
    "radius_vdw",
    "radius_metallic",
    "electron_affinity",
    "ionisation_1",
    "ionisation_2",
    "ionisation_3",
    "valence_s",
    "valence_p",
    "valence_d",
    "valence_f",
    "melting_point",
    "molar_volume",
    "energy_s",
    "energy_p",
    "energy_d",
    "energy_f",
    "bond_valence_r",
    "bond_valence_c",
)

# symbol, the properties above, common oxidation states, oxidation states seen in crystals (common ones included)
_TABLE = """
H 2.2 1 1 103 0.53 0.25 1.1 - 0.7542 13.598 - - 1 0 0 0 14.01 11.42 -0.23347 - - - 0.38 0.89 -1,1 -1,1
He - 1 18 1 0.31 - 1.4 - -0.52 24.587 54.418 - 2 0 0 0 0.95 21 -0.57042 - - - - - 0 0
Li 0.98 2 1 12 1.67 1.45 1.82 1.52 0.61805 5.3917 75.64 122.45 1 0 0 0 453.69 13.02 -0.10554 - - - 1 0.97 1 1
Be 1.57 2 2 77 1.12 1.05 1.53 1.12 -0.52 9.3227 18.211 153.9 2 0 0 0 1560 4.85 -0.20574 - - - 0.81 1.47 2 2
B 2.04 2 13 86 0.87 0.85 1.92 - 0.27972 8.298 25.155 37.931 2 1 0 0 2349 4.39 -0.3447 -0.1366 - - 0.79 1.6 3 -3,3
C 2.55 2 14 95 0.67 0.7 1.7 - 1.2621 11.26 24.383 47.888 2 2 0 0 3800 5.29 -0.50087 -0.19919 - - 0.78 2 -4,-3,-2,-1,1,2,3,4 -4,-3,-2,-1,1,2,3,4
N 3.04 2 15 100 0.56 0.65 1.55 - -0.07 14.534 29.601 47.445 2 3 0 0 63.05 13.54 -0.67615 -0.2663 - - 0.72 2.61 -3,3,5 -3,-2,-1,1,3,5
O 3.44 2 16 101 0.48 0.6 1.52 - 1.4611 13.618 35.121 54.936 2 4 0 0 54.8 17.36 -0.87136 -0.33838 - - 0.63 3.15 -2 -2
F 3.98 2 17 102 0.42 0.5 1.47 - 3.4012 17.423 34.971 62.708 2 5 0 0 53.53 11.2 -1.0869 -0.41561 - - 0.58 3.98 -1 -1
Ne - 2 18 2 0.38 - 1.54 - -1.22 21.565 40.963 63.423 2 6 0 0 24.56 13.23 -1.3228 -0.49803 - - - - 0 0
Na 0.93 3 1 11 1.9 1.8 2.27 1.86 0.54793 5.1391 47.286 71.62 1 0 0 0 370.87 23.78 -0.10342 -1.0606 - - 1.36 1.01 1 1
Mg 1.31 3 2 73 1.45 1.5 1.73 1.6 -0.42 7.6462 15.035 80.144 2 0 0 0 923 14 -0.17543 -1.719 - - 1.21 1.23 2 2
Al 1.61 3 13 80 1.18 1.25 1.84 1.43 0.43284 5.9858 18.829 28.448 2 1 0 0 933.47 10 -0.28688 -0.10254 - - 1.13 1.47 3 3
Si 1.9 3 14 85 1.11 1.1 2.1 - 1.3895 8.1517 16.346 33.493 2 2 0 0 1687 12.06 -0.39814 -0.15329 - - 1.12 1.58 -4,4 -4,4
P 2.19 3 15 90 0.98 1 1.8 - 0.74661 10.487 19.769 30.203 2 3 0 0 317.3 17.02 -0.51236 -0.20608 - - 1.09 1.96 -3,3,5 -3,-2,-1,3,4,5
S 2.58 3 16 94 0.88 1 1.8 - 2.0771 10.36 23.338 34.86 2 4 0 0 388.36 15.53 -0.63091 -0.26168 - - 1.03 2.35 -2,2,4,6 -2,-1,2,4,6
Cl 3.16 3 17 99 0.79 1 1.75 - 3.6127 12.968 23.814 39.8 2 5 0 0 171.6 17.39 -0.75446 -0.32038 - - 0.99 2.74 -1,1,3,5,7 -1,1,3,5,7
Ar - 3 18 3 0.71 0.71 1.88 - -1.02 15.76 27.63 40.735 2 6 0 0 83.8 22.56 -0.88338 -0.38233 - - - - 0 0
K 0.82 4 1 10 2.43 2.2 2.75 2.27 0.50146 4.3407 31.625 45.803 1 0 0 0 336.53 45.94 -0.088815 -0.69378 - - 1.73 0.91 1 1
Ca 1 4 2 16 1.94 1.8 2.31 1.97 0.024551 6.1132 11.872 50.913 2 0 0 0 1115 26.2 -0.14141 -1.0306 - - 1.5 1.04 2 2
Sc 1.36 4 3 19 1.84 1.6 2.15 1.62 0.17938 6.5615 12.8 24.757 2 0 1 0 1814 15 -0.15648 -1.2332 -0.13108 - 1.34 1.2 3 2,3
Ti 1.54 4 4 51 1.76 1.4 2.11 1.47 0.075545 6.8281 13.575 27.492 2 0 2 0 1941 10.64 -0.16711 -1.4229 -0.17001 - 1.27 1.32 4 2,3,4
V 1.63 4 5 54 1.71 1.35 2.07 1.34 0.52766 6.7462 14.634 29.311 2 0 3 0 2183 8.32 -0.17597 -1.6105 -0.20463 - 1.21 1.45 5 2,3,4,5
Cr 1.66 4 6 57 1.66 1.4 2.06 1.28 0.67593 6.7665 16.486 30.959 1 0 5 0 2180 7.23 -0.15044 -1.6542 -0.11812 - 1.16 1.56 3,6 2,3,4,5,6
Mn 1.55 4 7 60 1.61 1.4 2.05 1.27 -0.52 7.434 15.64 33.668 2 0 5 0 1519 7.35 -0.19114 -1.9914 -0.26654 - 1.17 1.6 2,4,7 2,3,4,7
Fe 1.83 4 8 61 1.56 1.4 2.04 1.26 0.15324 7.9025 16.199 30.651 2 0 6 0 1811 7.09 -0.19798 -2.1875 -0.29505 - 1.16 1.64 2,3 2,3
Co 1.88 4 9 64 1.52 1.35 2 1.25 0.66226 7.881 17.084 33.5 2 0 7 0 1768 6.67 -0.2045 -2.3883 -0.32237 - 1.09 1.7 2,3 1,2,3,4
Ni 1.91 4 10 67 1.49 1.35 1.97 1.24 1.1572 7.6399 18.169 35.187 2 0 8 0 1728 6.59 -0.21076 -2.5942 -0.3487 - 1.04 1.75 2 1,2,3,4
Cu 1.9 4 11 72 1.45 1.35 1.96 1.28 1.2358 7.7264 20.292 36.841 1 0 10 0 1357.8 7.11 -0.17206 -2.6092 -0.20227 - 0.87 1.75 2 1,2,3
Zn 1.65 4 12 76 1.42 1.35 2.01 1.34 -0.62 9.3942 17.964 39.723 2 0 10 0 692.68 9.16 -0.22273 -3.0224 -0.39894 - 1.07 1.66 2 2
Ga 1.81 4 13 81 1.36 1.3 1.87 1.35 0.30117 5.9993 20.515 30.726 2 1 10 0 302.91 11.8 -0.32802 -0.10163 -0.7362 - 1.14 1.82 3 2,3
Ge 2.01 4 14 84 1.25 1.25 2.11 - 1.2327 7.8994 15.935 34.058 2 2 10 0 1211.4 13.63 -0.42652 -0.14988 -1.1173 - 1.21 1.51 -4,2,4 -4,2,3,4
As 2.18 4 15 89 1.14 1.15 1.85 - 0.80449 9.7886 18.589 28.349 2 3 10 0 1090 12.95 -0.52367 -0.1975 -1.5428 - 1.21 2.23 -3,3,5 -3,-2,-1,2,3,5
Se 2.55 4 16 93 1.03 1.15 1.9 - 2.0206 9.7524 21.196 31.697 2 4 10 0 494 16.42 -0.62125 -0.24581 -2.0114 - 1.18 2.51 -2,2,4,6 -2,-1,2,4,6
Br 2.96 4 17 98 0.94 1.15 1.85 - 3.3636 11.814 21.591 34.871 2 5 10 0 265.8 19.78 -0.72007 -0.29533 -2.5221 - 1.13 2.58 -1,1,3,5 -1,1,3,5
Kr 3 4 18 4 0.88 - 2.02 - -1.02 14 24.36 35.838 2 6 10 0 115.79 27.99 -0.82057 -0.34634 -3.0741 - - - 2 2
Rb 0.82 5 1 9 2.65 2.35 3.03 2.48 0.48592 4.1771 27.29 39.247 1 0 0 0 312.46 55.76 -0.085375 -0.59217 -3.9155 - 1.84 0.89 1 1
Sr 0.95 5 2 15 2.19 2 2.49 2.15 0.052066 5.6949 11.03 42.884 2 0 0 0 1050 33.94 -0.13179 -0.84449 -4.8135 - 1.66 0.99 2 2
Y 1.22 5 3 25 2.12 1.8 2.32 1.8 0.31129 6.2173 12.224 20.524 2 0 1 0 1799 19.88 -0.15073 -1.0245 -0.10869 - 1.52 1.11 3 3
Zr 1.33 5 4 49 2.06 1.55 2.23 1.6 0.43329 6.6341 13.13 23.17 2 0 2 0 2128 14.02 -0.16239 -1.1866 -0.15067 - 1.43 1.22 4 2,3,4
Nb 1.6 5 5 53 1.98 1.45 2.18 1.46 0.91741 6.7588 14.32 25.04 1 0 4 0 2750 10.83 -0.14427 -1.25 -0.12525 - 1.4 1.23 5 2,3,4,5
Mo 2.16 5 6 56 1.9 1.45 2.17 1.39 0.74724 7.0924 16.16 27.13 1 0 5 0 2896 9.38 -0.14788 -1.3901 -0.15335 - 1.37 1.3 4,6 2,3,4,5,6
Tc 1.9 5 7 59 1.83 1.35 2.16 1.36 0.552 7.1194 15.26 29.55 2 0 5 0 2430 8.63 -0.18364 -1.6432 -0.27026 - - - 4,7 4,7
Ru 2.2 5 8 62 1.78 1.3 2.13 1.34 1.0463 7.3605 16.76 28.47 1 0 7 0 2607 8.17 -0.15283 -1.6675 -0.21038 - 1.21 1.42 3,4 2,3,4,5,6
Rh 2.28 5 9 65 1.73 1.35 2.1 1.34 1.1429 7.4589 18.08 31.06 1 0 8 0 2237 8.28 -0.15462 -1.8065 -0.23942 - 1.18 1.54 3 3,4
Pd 2.2 5 10 69 1.69 1.4 2.1 1.37 0.56214 8.3368 19.43 32.93 0 0 10 0 1828 8.56 -2.8892 -1.8152 -0.16077 - 1.11 1.35 2,4 2,4
Ag 1.93 5 11 71 1.65 1.6 2.11 1.44 1.3045 7.5762 21.484 34.8 1 0 10 0 1234.9 10.27 -0.15741 -2.0866 -0.29871 - 1.12 1.42 1 1,2,3
Cd 1.69 5 12 75 1.61 1.55 2.18 1.51 -0.72 8.9938 16.908 37.468 2 0 10 0 594.22 13 -0.20423 -2.3953 -0.47053 - 1.28 1.46 2 2
In 1.78 5 13 79 1.56 1.55 1.93 1.67 0.38393 5.7864 18.87 28.044 2 1 10 0 429.75 15.76 -0.2905 -0.10178 -0.73048 - 1.34 1.49 3 1,2,3
Sn 1.96 5 14 83 1.45 1.45 2.17 - 1.1121 7.3439 14.633 30.506 2 2 10 0 505.08 16.29 -0.36935 -0.14445 -1.005 - 1.37 1.72 -4,2,4 -4,2,3,4
Sb 2.05 5 15 88 1.33 1.45 2.06 - 1.0474 8.6084 16.626 25.323 2 3 10 0 903.78 18.19 -0.4456 -0.18562 -1.2973 - 1.41 1.72 -3,3,5 -3,-2,-1,3,5
Te 2.1 5 16 92 1.23 1.4 2.06 - 1.9709 9.0098 18.6 27.84 2 4 10 0 722.66 20.46 -0.521 -0.22659 -1.6084 - 1.4 2.72 -2,2,4,6 -2,-1,2,4,6
I 2.66 5 17 97 1.15 1.4 1.98 - 3.059 10.451 19.131 29.57 2 5 10 0 386.85 25.72 -0.59634 -0.2679 -1.9382 - 1.33 2.38 -1,1,3,5,7 -1,1,3,5,7
Xe 2.6 5 18 5 1.08 - 2.16 - -0.82 12.13 20.975 31.05 2 6 10 0 161.4 35.92 -0.67209 -0.30984 -2.2867 - - - 2,4,6 2,4,6
Cs 0.79 6 1 8 2.98 2.6 3.43 2.65 0.4716 3.8939 23.157 33.195 1 0 0 0 301.59 70.94 -0.078699 -0.5049 -2.8484 - 2.05 0.86 1 1
Ba 0.89 6 2 14 2.53 2.15 2.68 2.22 0.14463 5.2117 10.004 35.844 2 0 0 0 1000 38.16 -0.11897 -0.69861 -3.4324 - 1.88 0.97 2 2
La 1.1 6 3 33 - 1.95 2.43 1.87 0.55755 5.5769 11.185 19.177 2 0 1 0 1193 22.39 -0.13223 -0.8245 -0.14108 - 1.71 1.08 3 2,3
Ce 1.12 6 3 32 - 1.85 2.42 1.818 0.60016 5.5386 10.956 20.197 2 0 1 1 1068 20.69 -0.13397 -0.85011 -0.14055 -0.33744 1.68 1.08 3,4 3,4
Pr 1.13 6 3 31 2.47 1.85 2.4 1.824 0.10923 5.4702 10.631 21.624 2 0 0 3 1208 20.8 -0.12447 -0.77805 -4.1542 -0.15514 1.66 1.07 3 3,4
Nd 1.14 6 3 30 2.06 1.85 2.39 1.814 0.097493 5.525 10.783 22.09 2 0 0 4 1297 20.59 -0.1258 -0.7985 -4.377 -0.17951 1.64 1.07 3 2,3
Pm 1.13 6 3 29 2.05 1.85 2.38 1.834 0.129 5.5819 10.938 22.44 2 0 0 5 1373 20.23 -0.12705 -0.8177 -4.5968 -0.20016 - - 3 3
Sm 1.17 6 3 28 2.38 1.85 2.36 1.804 0.162 5.6437 11.078 23.55 2 0 0 6 1345 19.98 -0.12826 -0.83599 -4.815 -0.21776 1.61 1.07 3 2,3
Eu 1.2 6 3 18 2.31 1.85 2.35 1.804 0.11613 5.6704 11.24 24.84 2 0 0 7 1099 28.97 -0.12943 -0.85357 -5.0324 -0.23277 1.62 1.01 2,3 2,3
Gd 1.2 6 3 27 2.33 1.8 2.34 1.804 0.2123 6.1498 12.076 20.54 2 0 1 7 1585 19.9 -0.14363 -0.97875 -0.12722 -0.48901 1.58 1.11 3 3
Tb 1.1 6 3 26 2.25 1.75 2.33 1.773 0.13132 5.8638 11.513 21.82 2 0 0 9 1629 19.3 -0.13168 -0.88723 -5.4677 -0.25631 1.56 1.1 3 3,4
Dy 1.22 6 3 24 2.28 1.75 2.31 1.781 0.0153 5.939 11.647 22.89 2 0 0 10 1680 19.01 -0.13277 -0.90349 -5.6864 -0.2653 1.54 1.1 3 3
Ho 1.23 6 3 23 - 1.75 2.3 1.762 0.338 6.0215 11.781 22.79 2 0 0 11 1734 18.74 -0.13384 -0.91946 -5.9062 -0.27268 1.53 1.1 3 3
Er 1.24 6 3 22 2.26 1.75 2.29 1.761 0.312 6.1077 11.916 22.7 2 0 0 12 1802 18.46 -0.1349 -0.9352 -6.1274 -0.27858 1.51 1.11 3 3
Tm 1.25 6 3 21 2.22 1.75 2.27 1.759 1.0292 6.1843 12.065 23.66 2 0 0 13 1818 19.1 -0.13595 -0.95075 -6.3503 -0.28312 1.5 1.11 3 3
Yb 1.1 6 3 17 2.22 1.75 2.26 1.76 -0.02 6.2542 12.179 25.053 2 0 0 14 1097 24.84 -0.13699 -0.96614 -6.575 -0.28641 1.49 1.06 3 2,3
Lu 1.27 6 3 20 2.17 1.75 2.24 1.738 0.23887 5.4259 14.13 20.959 2 0 1 14 1925 17.78 -0.15511 -1.112 -0.10369 -0.5681 1.47 1.14 3 3
Hf 1.3 6 4 50 2.08 1.55 2.23 1.59 0.17807 6.8251 14.61 22.55 2 0 2 14 2506 13.44 -0.16647 -1.2464 -0.1438 -0.87157 1.42 1.23 4 4
Ta 1.5 6 5 52 2 1.45 2.22 1.46 0.32886 7.5496 16.2 23.1 2 0 3 14 3290 10.85 -0.17481 -1.3765 -0.18246 -1.1993 1.39 1.33 5 3,4,5
W 2.36 6 6 55 1.93 1.35 2.18 1.39 0.8165 7.864 16.37 26 2 0 4 14 3695 9.47 -0.18141 -1.5045 -0.2206 -1.5508 1.38 1.4 4,6 2,3,4,5,6
Re 1.9 6 7 58 1.88 1.35 2.16 1.37 0.060397 7.8335 16.6 27 2 0 5 14 3459 8.86 -0.18686 -1.6312 -0.25864 -1.9251 1.37 1.46 4,7 3,4,5,6,7
Os 2.2 6 8 63 1.85 1.3 2.16 1.35 1.0777 8.4382 17 25 2 0 6 14 3306 8.42 -0.19149 -1.7574 -0.29679 -2.3212 - - 4 4
Ir 2.2 6 9 66 1.8 1.35 2.13 1.355 1.5641 8.967 17 28 2 0 7 14 2739 8.52 -0.19551 -1.8833 -0.33519 -2.7383 1.37 1.55 3,4 3,4,5
Pt 2.28 6 10 68 1.77 1.35 2.13 1.385 2.1251 8.9588 18.56 29 1 0 9 14 2041.4 9.09 -0.16131 -1.8843 -0.27363 -3.038 - - 2,4 2,4
Au 2.54 6 11 70 1.74 1.35 2.14 1.44 2.3086 9.2256 20.203 30 1 0 10 14 1337.3 10.21 -0.16233 -2.0025 -0.30474 -3.4868 - - 3 3
Hg 2 6 12 74 1.71 1.5 2.23 1.51 -0.52 10.438 18.757 34.49 2 0 10 14 234.32 14.09 -0.20514 -2.262 -0.45255 -4.1103 1.32 1.44 1,2 1,2
Tl 1.62 6 13 78 1.56 1.9 1.96 1.7 0.32005 6.1083 20.428 29.852 2 1 10 14 577 17.22 -0.28502 -0.10151 -0.67454 -4.8357 1.62 1.44 1,3 1,3
Pb 2.33 6 14 82 1.54 1.8 2.02 - 0.35672 7.4167 15.032 31.937 2 2 10 14 600.61 18.26 -0.35719 -0.14183 -0.90239 -5.5925 1.53 1.55 2,4 2,4
Bi 2.02 6 15 87 1.43 1.6 2.07 - 0.94236 7.2855 16.703 25.571 2 3 10 14 544.4 21.31 -0.42613 -0.1802 -1.1394 -6.3827 1.54 1.67 3 1,2,3,5
Po 2 6 16 91 1.35 1.9 1.97 - 1.407 8.4181 19.3 27.3 2 4 10 14 527 22.97 -0.49353 -0.21789 -1.3865 -7.2065 - - -2,2,4 -2,2,4
At 2.2 6 17 96 - - 2.02 - 2.4158 9.3175 17.88 26.58 2 5 10 14 575 - -0.56019 -0.25545 -1.6438 -8.0635 - - -1,1 -1,1
Rn 2.2 6 18 6 1.2 - 2.2 - -0.72 10.748 21.4 29.4 2 6 10 14 202 50.5 -0.62657 -0.29318 -1.9113 -8.9533 - - 0 0
Fr 0.7 7 1 7 - - 3.48 - 0.486 4.0727 22.4 33.5 1 0 0 0 300 - -0.076176 -0.4662 -2.361 -10.051 - - 1 1
Ra 0.9 7 2 13 - 2.15 2.83 - 0.1 5.2784 10.147 31 2 0 0 0 973 41.09 -0.11373 -0.63467 -2.8199 -11.181 - - 2 2
Ac 1.1 7 3 48 - 1.95 2.47 - 0.35 5.3802 11.75 17.431 2 0 1 0 1323 22.55 -0.12655 -0.74452 -0.13779 -12.278 - - 3 3
Th 1.3 7 3 47 - 1.8 2.45 1.79 0.6077 6.3067 12.1 18.32 2 0 2 0 2115 19.8 -0.13587 -0.84692 -0.1729 -13.397 1.7 1.11 4 4
Pa 1.5 7 3 46 - 1.8 2.43 1.63 0.55 5.89 11.9 18.6 2 0 1 2 1841 15.18 -0.12965 -0.79976 -0.14248 -0.31681 - - 5 5
U 1.38 7 3 45 - 1.75 2.41 1.56 0.31498 6.194 11.6 19.8 2 0 1 3 1405.3 12.49 -0.13095 -0.82254 -0.14319 -0.36654 1.59 1.22 6 3,4,5,6
Np 1.36 7 3 44 - 1.75 2.39 1.55 0.48 6.2655 11.5 19.7 2 0 1 4 910 11.59 - - - - - - 5 5
Pu 1.28 7 3 43 - 1.75 2.43 1.59 -0.5 6.0258 11.5 21.1 2 0 0 6 912.5 12.29 - - - - - - 4 4
Am 1.3 7 3 42 - 1.75 2.44 1.73 0.1 5.9738 11.7 21.7 2 0 0 7 1449 17.63 - - - - - - 3 3
Cm 1.3 7 3 41 - - 2.45 1.74 0.28 5.9914 12.4 20.1 2 0 1 7 1613 18.05 - - - - - - 3 3
Bk 1.3 7 3 40 - - 2.44 1.7 -1.72 6.1978 11.9 21.6 2 0 0 9 1259 16.84 - - - - - - 3 3
Cf 1.3 7 3 39 - - 2.45 1.86 -1.01 6.2817 12 22.4 2 0 0 10 1173 16.5 - - - - - - 3 3
Es 1.3 7 3 38 - - 2.45 1.86 -0.3 6.3676 12.2 22.7 2 0 0 11 1133 28.52 - - - - - - 3 3
Fm 1.3 7 3 37 - - 2.45 - 0.35 6.5 12.4 23.2 2 0 0 12 1800 - - - - - - - 3 3
Md 1.3 7 3 36 - - 2.46 - 0.98 6.58 12.4 24.3 2 0 0 13 1100 - - - - - - - 3 3
No 1.3 7 3 35 - - 2.46 - -2.33 6.6262 12.93 25.8 2 0 0 14 1100 - - - - - - - 3 3
Lr 1.3 7 3 34 - - - - -0.31 4.96 14.54 21.8 2 1 0 14 1900 - - - - - - - 3 3
"""  # noqa: E501
_ROWS = tuple(tuple(line.split()) for line in _TABLE.strip().splitlines())


def find_symbol(word: str) -> str:
    """Return the symbol of the element that a word names, "" for none: "li", "Lithium" and "リチウム" are all Li.

    This is for words that can only mean an element; in running text `NAMES` leaves out what is mostly something else.
    """
    plain = word.strip()
    symbol = _EVERY_NAME.get(plain.lower(), plain[:1].upper() + plain[1:].lower())
    return symbol if symbol in NUMBERS else ""


def english_name(symbol: str) -> str:
    """Return an element's English name, in lower case."""
    return _NAMED[NUMBERS[symbol] - 1][1]


def electronegativity(symbol: str) -> float | None:
    """Return an element's electronegativity on Pauling's scale, or None where there is none."""
    number = NUMBERS[symbol]
    cell = _ROWS[number - 1][1] if number <= LAST else "-"
    return None if cell == "-" else float(cell)


@cache
def table() -> npt.NDArray[np.float64]:
    """Return the properties, shape (104, len(PROPERTIES)), row = atomic number; row 0 is all zeros.

    An unpublished value is taken from the element nearest in atomic number within the same group, else from the
    nearest in atomic number, so that every statistic over a formula is defined. Orbital energies of shells that the
    free atom does not hold are 0.
    """
    import numpy as np

    known = np.array([[_number(cell) for cell in row[1 : 1 + len(PROPERTIES)]] for row in _ROWS])
    groups = known[:, PROPERTIES.index("group")]
    for column, name in enumerate(PROPERTIES):
        if name.startswith("energy_"):
            known[:, column] = np.nan_to_num(known[:, column], nan=0.0)
        _fill(known[:, column], groups)
    return np.vstack([np.zeros(known.shape[1]), known])


def column(name: str) -> npt.NDArray[np.float64]:
    """Return one property by atomic number (index 0 is a placeholder)."""
    return table()[:, PROPERTIES.index(name)]


@cache
def oxidation_states(number: int, *, common: bool = True) -> tuple[int, ...]:
    """Return the oxidation states of an element, lowest first: the common ones, or all that crystals show."""
    if number > LAST:
        return ()
    cell = _ROWS[number - 1][-2 if common else -1]
    return tuple(int(state) for state in cell.split(","))


def _number(cell: str) -> float:
    return float("nan") if cell == "-" else float(cell)


def _fill(values: npt.NDArray[np.float64], groups: npt.NDArray[np.float64]) -> None:
    import numpy as np

    known = np.flatnonzero(~np.isnan(values))
    for missing in np.flatnonzero(np.isnan(values)):
        family = known[groups[known] == groups[missing]]
        pool = family if family.size else known
        values[missing] = values[pool[np.argmin(np.abs(pool - missing))]]
