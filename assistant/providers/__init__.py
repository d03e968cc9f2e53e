"""One file per provider of language models; `assistant.llms` has the table, `base` what they all share.

Each has `make_llm` (a llama-index LLM), `make_backend` (what `assistant.chat` drives) and `check` (for `doctor`).
"""
