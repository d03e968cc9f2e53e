"""Keyword jobs: from papers to keywords, with a language model or without one."""
