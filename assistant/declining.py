"""Which requests are declined before anything is searched: those that ask how to make or use what is meant to harm.

Rules over the user's own words. Asking how a hazard is detected, decomposed, stored or treated is no such request;
models are told the same in their system prompt.
"""

from __future__ import annotations

import re

_WEAPONS = re.compile(
    r"\b(?:sarin|soman|tabun|novichok|vx|nerve (?:agent|gas)\w*|mustard gas|sulfur mustard|ricin|botulinum toxin|"
    r"tatp|hmtd|(?:chemical|biological|nuclear|radiological) weapon\w*|dirty bomb|pipe bomb|bombs?|explosive device\w*|"
    r"improvised explosive\w*|bioweapon\w*|poison gas|crystal meth|methamphetamine)\b"
    r"|サリン|ソマン|タブン|ノビチョク|マスタードガス|リシン毒|毒ガス|神経剤|爆弾|爆発物|化学兵器|生物兵器|核兵器|覚醒剤",
    re.IGNORECASE,
)
_MAKING = re.compile(
    r"\b(?:how (?:do|can|could|would|should|to)\b.{0,40}\b(?:get|obtain|assemble)|"
    r"(?:synthesi[sz]e|synthesis|recipe|route|instructions?|steps?|procedure|protocol|precursors?|purify|enrich|"
    r"weaponi[sz]e|disperse|manufacture|make|build|prepare|produce)\b)"
    r"|作り方|製造|合成|作る|作りたい|調合|入手|散布",
    re.IGNORECASE,
)
_AGAINST_PEOPLE = re.compile(
    r"\b(?:kill|poison|hurt|injure|murder|harm|attack) (?:a |an |my |the |some|as many )?"
    r"(?:people|person|someone|somebody|neighbou?r|wife|husband|man|woman|crowd|victims?|humans?|colleagues?|boss)\b"
    r"|\bwithout (?:being|getting) (?:detected|caught)\b|人を(?:殺|毒殺|傷つけ)|殺す方法|毒殺",
    re.IGNORECASE,
)
_PROTECTIVE = re.compile(
    r"\b(?:detect\w*|sens(?:or|ing)|decompos\w*|degrad\w*|destr(?:oy|uction)\w*|hydroly\w*|adsor\w*|captur\w*|protect\w*|"
    r"neutrali[sz]\w*|treat\w*|antidote|dispos\w*|decontaminat\w*|remov\w*)\b|検出|分解|吸着|除去|無害化|防護|解毒",
    re.IGNORECASE,
)


def is_harmful(question: str) -> bool:
    """Whether a question asks for help to harm people."""
    if _AGAINST_PEOPLE.search(question):
        return True
    return bool(_WEAPONS.search(question) and _MAKING.search(question) and not _PROTECTIVE.search(question))
