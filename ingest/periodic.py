"""The chemical elements: symbols, English and Japanese names, and which symbols can stand alone in a text unmistaken.

Symbols and English names are IUPAC's (2016 and after); Japanese names are those of the Chemical Society of Japan.
"""

from __future__ import annotations

_TABLE = """
H hydrogen 水素|He helium ヘリウム|Li lithium リチウム|Be beryllium ベリリウム|B boron ホウ素|C carbon 炭素
N nitrogen 窒素|O oxygen 酸素|F fluorine フッ素|Ne neon ネオン|Na sodium ナトリウム|Mg magnesium マグネシウム
Al aluminium アルミニウム|Si silicon ケイ素|P phosphorus リン|S sulfur 硫黄|Cl chlorine 塩素|Ar argon アルゴン
K potassium カリウム|Ca calcium カルシウム|Sc scandium スカンジウム|Ti titanium チタン|V vanadium バナジウム
Cr chromium クロム|Mn manganese マンガン|Fe iron 鉄|Co cobalt コバルト|Ni nickel ニッケル|Cu copper 銅
Zn zinc 亜鉛|Ga gallium ガリウム|Ge germanium ゲルマニウム|As arsenic ヒ素|Se selenium セレン|Br bromine 臭素
Kr krypton クリプトン|Rb rubidium ルビジウム|Sr strontium ストロンチウム|Y yttrium イットリウム
Zr zirconium ジルコニウム|Nb niobium ニオブ|Mo molybdenum モリブデン|Tc technetium テクネチウム
Ru ruthenium ルテニウム|Rh rhodium ロジウム|Pd palladium パラジウム|Ag silver 銀|Cd cadmium カドミウム
In indium インジウム|Sn tin スズ|Sb antimony アンチモン|Te tellurium テルル|I iodine ヨウ素|Xe xenon キセノン
Cs caesium セシウム|Ba barium バリウム|La lanthanum ランタン|Ce cerium セリウム|Pr praseodymium プラセオジム
Nd neodymium ネオジム|Pm promethium プロメチウム|Sm samarium サマリウム|Eu europium ユウロピウム
Gd gadolinium ガドリニウム|Tb terbium テルビウム|Dy dysprosium ジスプロシウム|Ho holmium ホルミウム
Er erbium エルビウム|Tm thulium ツリウム|Yb ytterbium イッテルビウム|Lu lutetium ルテチウム
Hf hafnium ハフニウム|Ta tantalum タンタル|W tungsten タングステン|Re rhenium レニウム|Os osmium オスミウム
Ir iridium イリジウム|Pt platinum 白金|Au gold 金|Hg mercury 水銀|Tl thallium タリウム|Pb lead 鉛
Bi bismuth ビスマス|Po polonium ポロニウム|At astatine アスタチン|Rn radon ラドン|Fr francium フランシウム
Ra radium ラジウム|Ac actinium アクチニウム|Th thorium トリウム|Pa protactinium プロトアクチニウム
U uranium ウラン|Np neptunium ネプツニウム|Pu plutonium プルトニウム|Am americium アメリシウム
Cm curium キュリウム|Bk berkelium バークリウム|Cf californium カリホルニウム|Es einsteinium アインスタイニウム
Fm fermium フェルミウム|Md mendelevium メンデレビウム|No nobelium ノーベリウム|Lr lawrencium ローレンシウム
Rf rutherfordium ラザホージウム|Db dubnium ドブニウム|Sg seaborgium シーボーギウム|Bh bohrium ボーリウム
Hs hassium ハッシウム|Mt meitnerium マイトネリウム|Ds darmstadtium ダームスタチウム
Rg roentgenium レントゲニウム|Cn copernicium コペルニシウム|Nh nihonium ニホニウム|Fl flerovium フレロビウム
Mc moscovium モスコビウム|Lv livermorium リバモリウム|Ts tennessine テネシン|Og oganesson オガネソン
"""
_ROWS = [entry.split() for line in _TABLE.strip().splitlines() for entry in line.split("|")]

SYMBOLS: frozenset[str] = frozenset(symbol for symbol, _, _ in _ROWS)

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
NAMES: dict[str, str] = {
    name: symbol for symbol, english, japanese in _ROWS for name in (english, japanese) if name not in _MISLEADING
} | _OTHER_SPELLINGS

# Symbols that are hardly ever anything else when they stand alone in a scientific text.
_BARE = """
Li Na Mg Al Si Ca Ti Cr Mn Fe Ni Cu Zn Ga Ge Rb Sr Zr Nb Ru Rh Pd Ag Cd Sn Sb Cs Ba Ce Gd Hf Pt Au Hg Pb Bi Yb
"""
BARE_SYMBOLS: frozenset[str] = frozenset(_BARE.split())
