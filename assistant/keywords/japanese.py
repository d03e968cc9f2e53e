"""Keywords of Japanese papers: noun phrases by SudachiPy, ranked by where and how often they stand in the text."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from assistant.glossary import SCRIPT, split
from assistant.keywords.candidates import UNITS
from assistant.keywords.texts import Text

MOST_MORPHEMES = 6
BLOCK_CHARACTERS = 10_000  # SudachiPy refuses more than some 49,000 bytes at once
# Nouns of the talk of papers: no keyword is one of them, or begins with one.
_LISTED = """
    本研究 研究 本稿 本論文 論文 報告 結果 方法 目的 場合 実験 検討 考察 解析 分析 評価
    測定 使用 利用 提案 比較 影響 効果 可能 重要 必要 問題 課題 特徴 図 表 式 章 節
    付録 参考 文献 著者 大学 学会 株式 会社 株式会社 年 月 日 前述 以下 以上 上記 下記
    従来 今回 近年 現在 一方 他方 それぞれ 各 多く 一部 全体 部分 関係 関連 対象 条件
    状態 変化 増加 減少 向上 低下 値 数 量 率 例 点 面 上 下 中 内 外 前 後 間 時
    際 際に 種 種類 様 等 ため もの こと ところ とき 概要 要旨 序論 緒言 結論 結言
    はじめに おわりに 謝辞 キーワード 目次 説明 記述 注意 参照 定義 指定 出力 入力 確認
    実施 作成 設定 開始 終了 変更 追加 対応 表示 処理 文字 文書 ページ 項目 内容 名前 者
    化 性 的 役割 原因 傾向 複数 程度 試料 観察 作製 期待 応用 検証 調査 取得 存在 発生
"""
_TALK = frozenset(_LISTED.split())
_TALK_ENDS = frozenset(["程度", "前後", "以上", "以下", "以内"])
_AFFIXES = ("名詞的", "形状詞的")
# What counts, qualifies or says when is no subject on its own: 倍, 有望, 以内.
_NOT_ALONE = ("助数詞可能", "形状詞可能", "副詞可能", "助数詞")
# Formulas, alloys and codes, which the dictionary takes apart: Li7La3Zr2O12, Ti-6Al-4V, MOF-74.
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[-/.][A-Za-z0-9]+)*")
Part = tuple[str, tuple[str, ...]]  # a morpheme, or a name of several, with its part of speech


@dataclass(slots=True)
class Phrase:
    """A noun phrase with its counts; offsets count morphemes."""

    morphemes: int
    counts: list[int] = field(default_factory=lambda: [0, 0, 0])  # title, abstract, body
    first: int = 0


def extract_japanese(text: Text, *, most: int) -> list[str]:
    """Return up to `most` noun phrases, best first; those that are part of a better one are left out."""
    phrases = collect_japanese(text)
    total = max(sum(sum(one.counts) for one in phrases.values()), 1)
    order = sorted(phrases, key=lambda form: (-_score(phrases[form], total), form))
    taken: list[str] = []
    for form in order:
        if len(taken) == most:
            break
        if not any(form in other or other in form for other in taken):
            taken.append(form)
    return taken


def collect_japanese(text: Text) -> dict[str, Phrase]:
    """Return the noun phrases of title, abstract and body."""
    found: dict[str, Phrase] = {}
    offset = 0
    for zone, part in enumerate((text.title, text.abstract, text.body)):
        for run in noun_runs(part):
            offset += len(run)
            form = "".join(run)
            if _is_keyword(form, run):
                one = found.setdefault(form, Phrase(len(run), first=offset))
                one.counts[zone] += 1
    inner = Counter(
        {form: sum(sum(found[other].counts) for other in found if form != other and form in other) for form in found}
        if len(found) < 1500
        else {}
    )
    for form, one in found.items():
        one.counts[2] += inner[form] // 3
    return found


def in_english(keyword: str) -> str:
    """Return the English for a Japanese keyword where the glossary covers all of it, else ""."""
    parts = [part for part in split(keyword) if part.text.strip("の・ 　")]
    if not parts or not all(part.english or not SCRIPT.search(part.text) for part in parts):
        return ""
    return " ".join(part.english[0] if part.english else part.text.strip() for part in parts)


def _score(one: Phrase, total: int) -> float:
    title, abstract, body = one.counts
    counted = math.log1p(5.0 * title + 2.0 * abstract + body)
    length = 1.0 if one.morphemes == 1 else 1.6 if one.morphemes <= 3 else 1.3
    early = 1.0 + 0.5 * math.exp(-4.0 * one.first / total)
    return counted * length * early


def _is_keyword(form: str, run: list[str]) -> bool:
    if form in _TALK or (run[0] in _TALK and len(run) == 1) or len(run) > MOST_MORPHEMES:
        return False
    letters = [char for char in form if char.isalpha()]
    if len(letters) < 2 or (not SCRIPT.search(form) and len(form) < 3):
        return False
    kanji_or_kana = re.fullmatch(r"[ぁ-ゖー]+", form) is None  # hiragana alone is grammar, not a subject
    return kanji_or_kana and not (form.isascii() and not form.isupper() and len(run) == 1 and form.islower())


def noun_runs(text: str) -> Iterator[list[str]]:
    """Yield the runs of nouns, in their parts; a name begins a run of its own: 光触媒BiVO4 are two."""
    folded = re.sub(r"(?<=[ぁ-鿿])\s+(?=[ぁ-鿿])", "", unicodedata.normalize("NFKC", text))
    for start in range(0, len(folded), BLOCK_CHARACTERS):
        run: list[Part] = []
        for part in [*_parts(folded[start : start + BLOCK_CHARACTERS]), ("", ("",))]:
            goes_on = _continues(*part, bool(run))
            if run and (not goes_on or (_is_name(part[0]) and not run[-1][0].isascii())):
                yield _trimmed(run)
                run = []
            if goes_on:
                run.append(part)


def _parts(text: str) -> Iterator[Part]:
    """Yield the morphemes of a text, with those that make up a name put together."""
    names = {match.start(): match.end() for match in _NAME.finditer(text)}
    ends = 0
    for morpheme in _tokenizer().tokenize(text):
        if morpheme.begin() < ends:
            continue
        name_ends = names.get(morpheme.begin(), 0)
        if name_ends > morpheme.end():
            ends = name_ends
            yield text[morpheme.begin() : ends], ("名詞", "固有名詞", "一般")
        else:
            yield morpheme.surface(), morpheme.part_of_speech()


def _is_name(surface: str) -> bool:
    """Tell a formula or code (BiVO4, CrMnFeCoNi) from a word and from an abbreviation, as in 固体NMR."""
    letters = {char.islower() for char in surface if char.isalpha()}
    return surface.isascii() and bool(letters) and (len(letters) == 2 or any(map(str.isdigit, surface)))


def _continues(surface: str, kind: tuple[str, ...], inside: bool) -> bool:
    if all(part.lower() in UNITS for part in re.split("[-/.]", surface)) and surface.isascii() and len(surface) > 1:
        return False
    if kind[0] == "名詞":
        return kind[1] != "数詞" or inside or not surface.isdigit()
    if kind[0] == "接頭辞":
        return True
    return (kind[0] == "接尾辞" and kind[1] in _AFFIXES and inside) or (surface in ("-", "・") and inside)


def _trimmed(run: list[Part]) -> list[str]:
    """Return the run without talk, counts and loose ends; one that is nothing else becomes a full stop."""
    while run and (run[-1][0] in "-・" or run[-1][0].isdigit() or "副詞可能" in run[-1][1] or run[-1][0] in _TALK_ENDS):
        run = run[:-1]
    while len(run) > 1 and run[-2][1][1] == "数詞" and any(kind in _NOT_ALONE for kind in run[-1][1]):
        run = run[:-2]
    while run and (run[0][0] in _TALK or run[0][1][1] == "数詞" or run[0][0] in ("約", "マイナス")):
        counted = run[0][1][1] == "数詞"
        run = run[1:]
        while counted and run and any(kind in _NOT_ALONE for kind in run[0][1]):
            run = run[1:]
    if not run or (len(run) == 1 and any(kind in _NOT_ALONE for kind in run[0][1])):
        return ["。"]
    return [surface for surface, _ in run]


@cache
def _tokenizer() -> Any:
    import sudachipy

    return sudachipy.Dictionary().tokenizer(mode=sudachipy.SplitMode.C)
