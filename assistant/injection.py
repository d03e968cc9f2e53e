"""Leaves out of foreign text what is addressed to an assistant rather than to a reader.

The structure protects first: data stands between tags in a user turn, tools are an allow-list, claims are checked.
This takes the commonest forms of attack away from weak models on top, and from the evidence that claims are checked
against, so that a sentence is not "supported" by an order to write it. Pages and quotes stay as they are.
"""

from __future__ import annotations

import re
import unicodedata

LEFT_OUT = "(a sentence addressed to assistants was left out)"

_ORDERS = re.compile(
    r"\b(?:ignore|disregard|forget|override|bypass)\b.{0,40}\b(?:instructions?|rules?|prompts?|questions?|sources?|"
    r"guidelines|context)\b"
    r"|\b(?:system|developer) (?:prompt|message)\b|\bnew (?:system )?(?:rules|instructions|message)\s*:"
    r"|\b(?:assistant|human)\s*:|(?-i:^\W*(?:System|SYSTEM|User|Developer)\s*:)|<\|im_(?:start|end)\|>"
    r"|\[/?INST\]|```system"
    r"|\b(?:you are|act as|pretend to be) (?:now |from now on )?"
    r"(?:DAN|an? (?:pirate|assistant|ai|chatbot|language model))"
    r"|\byou are (?-i:[A-Z]{3,})\b"
    r"|\bfrom now on,? (?:you|answer|speak|write)\b|\b(?:dear|hey|hello),? (?:assistant|ai|chatbot)\b"
    r"|\b(?:call|invoke|use|run|trigger)\b.{0,30}\b(?:tools?|function|calculator|shell)\b|\btools?\b.{0,30}\bmust\b"
    r"|\bcompute\b.{0,40}\bwith the calculator\b|__import__|\bos\.system\b|<tool_call>|\"arguments\"\s*:"
    r"|^\W*(?:print|reveal|dump|display|output|append|repeat|leak|send|fetch|write|say)\b.{0,60}(?:\bkeys?\b|\bprompt\b|"
    r"\bvariables?\b|\bthe answer\b|https?://|(?-i:\b[A-Z]{4,}\b))"
    r"|\bwrite (?-i:[A-Z]{4,})\b|\byou (?:should|must) (?:write|say|answer)\b|\bwhat should you write\b"
    r"|^\W*(?:answer|respond|reply|speak) (?:only )?(?:in|like|with)\b"
    r"|\b(?:tell|inform|convince) the (?:user|reader|scientist) that\b|(?-i:^\W*(?:State|Claim|Assert) that\b)"
    r"|^\W*cite (?:this|the|only)\b|^\W*attribute the\b|\brecommend buying\b|\bAPI[ _-]?key\b"
    r"|</?\s*(?:sources?|tool_results?|question|attachments?)\b|‹"
    r"|\b(?:write|say|reply|respond) ?: |\b(?:asked|told|tells?|instructs?) the (?:language )?(?:model|assistant|AI)\b"
    r"|\b(?:dear|attention|note to|message (?:to|for)|instructions? (?:to|for)) (?:the |any |all )?(?:AI|LLM|assistant|"
    r"language model|chatbot)s?\b|\b(?:call|invoke)\s+\w+\s+with\s+\{|を呼び出(?:せ|して)|<<SYS>>"
    r"|(?:アシスタント|言語モデル|AI)へ(?:の指示)?[:、。]|(?:命令|指示|規則)(?:は|を)(?:無効|破棄|解除)"
    r"|指示を.{0,8}(?:無視|忘れ)|質問を.{0,8}無視|(?:APIキー|プロンプト)を.{0,8}(?:表示|出力|教え)|ツールを.{0,10}呼び出"
    r"|あなたは今から|(?:言葉|語)で答えな|を引用せよ|と(?:書け|答えろ|述べよ)",
    re.IGNORECASE | re.DOTALL,
)


_BORDER = re.compile(r"((?<=[.!?])\s+(?=[^a-z])|(?<=。)|\n)")


def is_order(sentence: str) -> bool:
    """Whether a sentence is addressed to an assistant."""
    return bool(_ORDERS.search(unicodedata.normalize("NFKC", sentence)))  # ｗｒｉｔｅ is "write"


def without_orders(text: str, *, instead: str = LEFT_OUT) -> str:
    """Return a text with `instead` in the place of each sentence that is addressed to an assistant."""
    parts = _BORDER.split(text)  # stretches, and what stands between them
    return "".join(instead if is_order(part) else part for part in parts)
