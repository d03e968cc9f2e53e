"""A controlled list of keywords: reading one, and mapping free keywords to its terms.

The file has one term per line; other names of a term follow it after `|`. Lines that begin with # are comments.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from assistant.keywords.meaning import abbreviates, meaning_key
from ingest.errors import BadInput

if TYPE_CHECKING:
    from ingest.embed import Embedder, Vectors

NEAR = 0.72  # cosine from which on a term counts as what was meant


class Vocabulary:
    """Terms with their other names; `embedder` finds the nearest where no name fits."""

    def __init__(self, terms: Sequence[tuple[str, ...]], *, embedder: Embedder | None = None) -> None:
        self.terms = tuple(names[0] for names in terms)
        self._names = [(name, names[0]) for names in terms for name in names]
        self._by_key = {meaning_key(name): term for name, term in reversed(self._names)}
        self._embedder = embedder
        self._vectors: Vectors | None = None

    @classmethod
    def read(cls, file: Path, *, embedder: Embedder | None = None) -> Vocabulary:
        """Read a vocabulary file; raises `BadInput` where it cannot be read or holds no term."""
        try:
            lines = file.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise BadInput(f"cannot read the vocabulary {str(file)!r}: {error}") from error
        rows = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
        terms = [names for row in rows if (names := tuple(part.strip() for part in row.split("|") if part.strip()))]
        if not terms:
            raise BadInput(
                f"the vocabulary {str(file)!r} holds no term", hint="One term per line: lithium-ion battery | LIB"
            )
        return cls(terms, embedder=embedder)

    def term_for(self, keyword: str) -> str:
        """Return the term that `keyword` names or is nearest to, "" where none is near."""
        if found := self._by_key.get(meaning_key(keyword)):
            return found
        for name, term in self._names:
            if abbreviates(keyword, name) or abbreviates(name, keyword):
                return term
        return self._nearest(keyword)

    def _nearest(self, keyword: str) -> str:
        if self._embedder is None:
            return ""
        if self._vectors is None:
            self._vectors = self._embedder.embed_documents([name for name, _ in self._names])
        cosines = self._vectors @ self._embedder.embed_documents([keyword])[0]
        best = int(cosines.argmax())
        return self._names[best][1] if cosines[best] >= NEAR else ""
