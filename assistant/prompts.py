"""Every fixed sentence an answer may hold, in English and Japanese, as named constants."""

from __future__ import annotations

from typing import Literal, get_args

Language = Literal["en", "ja"]
Strategy = Literal["auto", "zero-shot", "few-shot", "cot"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)

REFUSAL: dict[Language, str] = {
    "en": "I found no answer to this in the library.",
    "ja": "ライブラリの中に、この質問の答えは見つかりませんでした。",
}
LOOKED_FOR: dict[Language, str] = {
    "en": "Looked for: {terms}.",
    "ja": "探した語: {terms}",
}
MISSING: dict[Language, str] = {
    "en": "No passage close to the question mentions: {terms}.",
    "ja": "質問に近い箇所に見当たらない語: {terms}",
}
NOT_IN_LIBRARY: dict[Language, str] = {
    "en": "Nowhere in the library: {terms}.",
    "ja": "ライブラリのどこにもない語: {terms}",
}
EMPTY_LIBRARY: dict[Language, str] = {
    "en": "The library is empty, or the filter leaves nothing to search.",
    "ja": "ライブラリが空か、絞り込みの結果、検索できる文書がありません。",
}
QUOTES: dict[Language, str] = {
    "en": "Quotes from the library, word for word (no language model is connected):",
    "ja": "ライブラリからの引用です(言語モデルは使っていません。原文のまま):",
}
CONNECT_MODEL: dict[Language, str] = {
    "en": "These are quotes: no language model is connected. matlit models lists what can be; then ask with --model.",
    "ja": "以上は引用です(言語モデルは未接続)。使えるモデルは matlit models で一覧でき、--model で指定します。",
}
ENGLISH_EMBEDDER: dict[Language, str] = {
    "en": "The library's embedder {embedder} reads English only, so this Japanese question was searched by words, "
    "formulas, numbers and a glossary. A multilingual embedder finds more: set embedding.model and run "
    "matlit ingest --rebuild.",
    "ja": "このライブラリの埋め込みモデル {embedder} は英語専用のため、語・化学式・数値と対訳用語集で検索しました。"
    "多言語モデルならさらに見つかります: embedding.model を設定し、matlit ingest --rebuild を実行してください。",
}
PAGE: dict[Language, str] = {"en": "p. {page}", "ja": "{page}ページ"}
BEFORE: dict[Language, str] = {"en": "Before it: {context}", "ja": "直前の文: {context}"}


def refusals() -> frozenset[str]:
    """Return the refusal in every language, so that code and tests can recognise one."""
    return frozenset(REFUSAL.values())
