"""The papers tool: searches the library's papers, reads a page, and outlines a paper. What it returns is data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from assistant.tools.base import Tool, ToolContext, ToolOutput, from_function
from ingest.errors import BadInput

if TYPE_CHECKING:
    from ingest.library import Library
    from ingest.records import Hit, Paper

MOST_HITS = 20
MOST_PAGE_CHARACTERS = 12_000
MOST_PAPERS = 50
ID_DIGITS = 12
NO_LIBRARY = "Build one: matlit ingest FOLDER_OF_PDFS, or try the sample: matlit demo"


def make(context: ToolContext) -> Tool:
    """Return the tool, reading the context's library with its embedder."""

    def papers(query: str = "", paper: str = "", page: int | None = None, k: int = 5) -> ToolOutput:
        """Search the library's papers, read one page of a paper, or see its outline.

        With `query`: the best passages, each with paper, page and text. With `paper` and `page`: that page's text.
        With `paper` alone: its title, authors, sections and pages. With nothing: the list of papers.

        Args:
            query: what to look for, in words
            paper: a paper's id (the first digits are enough) or words of its title
            page: number of the page to read, from 1
            k: how many passages, 20 at most
        """
        if context.library is None:
            raise BadInput("there is no library of papers", hint=NO_LIBRARY)
        chosen = find_paper(context.library, paper) if paper.strip() else None
        if query.strip():
            return _search(context, query, chosen, k=k)
        if chosen is None:
            return _list(context.library)
        return _outline(context.library, chosen) if page is None else _read(context.library, chosen, page)

    return from_function(papers, read_only=True)


def find_paper(library: Library, wanted: str) -> Paper:
    """Return the paper with that id, beginning of an id, DOI, or words of title and file name.

    Raises:
        BadInput: none or several fit.
    """
    every = library.papers()
    same = wanted.strip().casefold()
    found = [paper for paper in every if paper.id.startswith(same) and len(same) >= 4]
    found = found or [paper for paper in every if paper.metadata.doi and paper.metadata.doi.casefold() == same]
    found = found or [paper for paper in every if all(word in _searchable(paper) for word in same.split())]
    if len(found) == 1:
        return found[0]
    if not found:
        raise BadInput(
            f"no paper fits {wanted!r}", hint="Search for it with query, or list all papers with no argument"
        )
    names = "; ".join(f"{paper.id[:ID_DIGITS]} {paper.title[:60]}" for paper in found[:5])
    raise BadInput(f"{len(found)} papers fit {wanted!r}: {names}", hint="Give the id")


def _searchable(paper: Paper) -> str:
    return " ".join([paper.title, *paper.metadata.authors, *(path.name for path in paper.paths)]).casefold()


def _search(context: ToolContext, query: str, paper: Paper | None, *, k: int) -> ToolOutput:
    from assistant.retrieve import search
    from ingest.records import Filter

    if context.library is None:
        raise BadInput("there is no library of papers", hint=NO_LIBRARY)
    if not context.library.papers():
        raise BadInput("the library holds no papers", hint=NO_LIBRARY)
    if not 1 <= k <= MOST_HITS:
        raise BadInput(f"k is {k}, not from 1 to {MOST_HITS}")
    where = Filter(
        sources=frozenset({paper.id}) if paper else frozenset(), kinds=frozenset({"text", "table", "caption"})
    )
    embedder = context.embedder
    if embedder is None:
        hits = search(context.library, _NoEmbedder(), query, k=k, where=where, mode="lexical")
    else:
        hits = search(context.library, embedder, query, k=k, where=where)
    data = {"query": query, "passages": [_hit_to_json(hit) for hit in hits]}
    text = "\n\n".join(_hit_text(number, hit) for number, hit in enumerate(hits, 1)) or f"nothing found for {query!r}"
    return ToolOutput(data, text, tuple(dict.fromkeys(f"{hit.chunk.source}#{hit.chunk.page}" for hit in hits)))


class _NoEmbedder:
    """Stands in where none is loaded; a lexical search never asks it."""

    def embed_query(self, text: str) -> Any:
        """Refuse, since no vectors can be compared."""
        raise BadInput(f"no embedder is loaded to search for {text!r} by meaning")


def _hit_to_json(hit: Hit) -> dict[str, Any]:
    chunk = hit.chunk
    return {
        "paper": chunk.source,
        "title": hit.title,
        "page": chunk.page,
        "section": chunk.section,
        "kind": chunk.kind,
        "text": chunk.text,
        "score": round(hit.score, 4),
    }


def _hit_text(number: int, hit: Hit) -> str:
    chunk = hit.chunk
    section = f", {chunk.section}" if chunk.section else ""
    return f"[{number}] {hit.title} ({chunk.source[:ID_DIGITS]}), page {chunk.page}{section}:\n{chunk.text}"


def _list(library: Library) -> ToolOutput:

    every = library.papers()
    lines = [f"{paper.id[:ID_DIGITS]}  {paper.metadata.year or ''}  {paper.title}" for paper in every[:MOST_PAPERS]]
    rows = [_paper_to_json(paper) for paper in every[:MOST_PAPERS]]
    return ToolOutput({"count": len(every), "papers": rows}, "\n".join([f"{len(every)} papers", *lines]))


def _paper_to_json(paper: Paper) -> dict[str, Any]:
    known = paper.metadata
    return {
        "id": paper.id,
        "title": paper.title,
        "authors": list(known.authors),
        "year": known.year,
        "doi": known.doi,
        "pages": paper.page_count,
    }


def _outline(library: Library, paper: Paper) -> ToolOutput:

    sections: list[dict[str, Any]] = []
    for page in library.pages(paper.id):
        for block in page.blocks:
            if block.section and (not sections or sections[-1]["title"] != block.section):
                sections.append({"title": block.section, "page": page.number})
    known = paper.metadata
    lines = [
        f"{paper.title} ({paper.id[:ID_DIGITS]})",
        "; ".join(filter(None, (", ".join(known.authors), str(known.year or ""), known.journal, known.doi))),
        f"{paper.page_count} pages",
        *(f"page {section['page']}: {section['title']}" for section in sections),
    ]
    return ToolOutput({**_paper_to_json(paper), "sections": sections}, "\n".join(lines), (f"{paper.id}#1",))


def _read(library: Library, paper: Paper, number: int) -> ToolOutput:

    if not 1 <= number <= paper.page_count:
        raise BadInput(f"{paper.title!r} has no page {number}", hint=f"It has pages 1 to {paper.page_count}")
    text = library.page(paper.id, number).text
    kept = text[:MOST_PAGE_CHARACTERS]
    if len(kept) < len(text):
        kept += f"… ({len(text) - len(kept):,} more characters)"
    data = {"paper": paper.id, "title": paper.title, "page": number, "text": kept}
    head = f"{paper.title} ({paper.id[:ID_DIGITS]}), page {number}:"
    return ToolOutput(data, f"{head}\n{kept}", (f"{paper.id}#{number}",))
