"""Asking Crossref, then OpenAlex, about a paper: only on request, cached on disk, and never fatal.

APIs: https://www.crossref.org/documentation/retrieve-metadata/rest-api/ and https://docs.openalex.org/.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
import time
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from difflib import SequenceMatcher
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ingest.errors import OfflineError
from ingest.records import Metadata
from ingest.retry_after import parse_retry_after

if TYPE_CHECKING:
    import httpx

CROSSREF_URL = "https://api.crossref.org"
OPENALEX_URL = "https://api.openalex.org"
TIMEOUT_S = 15.0
ATTEMPTS = 3
LONGEST_WAIT_S = 30.0
FORGET_MISSES_S = 30 * 24 * 3600.0  # a paper that is unknown today may be registered next month
SAME_TITLE = 0.9  # of difflib's ratio, below which a search result is another paper

DOI = re.compile(r"10\.\d{4,9}(?:\.\d+)*/[^\s\"<>|{}\\^`⏎]+", re.IGNORECASE)

_BUSY = frozenset({429, 500, 502, 503, 504})


def clean_doi(text: str) -> str:
    """Return the DOI in a text without resolver, prefix, and the punctuation of the sentence around it; "" for none.

    A closing bracket stays when the DOI opened it: 10.1016/0370-1573(94)90080-9.
    """
    found = DOI.search(text)
    doi = found.group() if found else ""
    while doi and (doi[-1] in ".,;:'\"’”*†‡§" or _unopened(doi)):
        doi = doi[:-1]
    return doi


def same_doi(left: str, right: str) -> bool:
    """Say whether two DOIs are one; case does not matter (DOI Handbook, 2.4)."""
    return bool(left) and clean_doi(left).lower() == clean_doi(right).lower()


def look_up(
    doi_or_title: str,
    *,
    cache_dir: Path,
    mailto: str = "",
    offline: bool = True,
    crossref_url: str = CROSSREF_URL,
    openalex_url: str = OPENALEX_URL,
    warn: Callable[[str], None] = lambda message: None,
) -> Metadata | None:
    """Return what Crossref, else OpenAlex, know about a DOI or an exact title; None when they know nothing.

    `mailto` is the address both services ask for in return for better service. A service that does not answer, or
    answers nonsense, is reported through `warn` and otherwise counts as one that does not know.

    Raises `OfflineError` in offline mode, unless the answer is in the cache.
    """
    doi = clean_doi(doi_or_title)
    key = doi.lower() or fold(doi_or_title)
    cached = cache_dir / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"
    known = _cached(cached)
    if known is not None:
        return _metadata_of(known["metadata"]) if known["metadata"] else None
    if offline:
        raise OfflineError(f"looking up {doi_or_title!r} needs a connection, and offline mode is on")
    answer, complete = _ask(doi, doi_or_title, mailto, (crossref_url, openalex_url), warn)
    if answer is not None or complete:
        _keep(cached, {"asked": doi_or_title, "at": time.time(), "metadata": asdict(answer) if answer else None})
    return answer


def fold(text: str) -> str:
    """Return a title for comparison: compatibility forms made plain, lower case, words only."""
    return " ".join(re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold()))


def alike(left: str, right: str) -> float:
    """Return how alike two titles are, from 0 to 1, whatever their case and punctuation."""
    return SequenceMatcher(None, fold(left), fold(right), autojunk=False).ratio()


def _unopened(doi: str) -> bool:
    return any(doi.endswith(close) and doi.count(close) > doi.count(start) for start, close in ("()", "[]"))


def _ask(
    doi: str, title: str, mailto: str, urls: tuple[str, str], warn: Callable[[str], None]
) -> tuple[Metadata | None, bool]:
    """Return the first answer, and whether every service that was asked did answer."""
    import httpx

    complete = True
    agent = f"matlit (mailto:{mailto})" if mailto else "matlit"
    with httpx.Client(timeout=TIMEOUT_S, follow_redirects=True, headers={"User-Agent": agent}) as client:
        for name, url, ask in (("Crossref", urls[0], _crossref), ("OpenAlex", urls[1], _openalex)):
            try:
                found = ask(client, url.rstrip("/"), doi, title, {"mailto": mailto} if mailto else {})
            except (httpx.HTTPError, ValueError, KeyError, TypeError, AttributeError) as error:
                # Other people's services: no network, an error page, or JSON of another shape.
                warn(f"{name} gave no answer about {doi or title!r}: {type(error).__name__}: {error}")
                complete = False
                continue
            if found is not None:
                return found, True
    return None, complete


def _crossref(client: httpx.Client, url: str, doi: str, title: str, polite: Mapping[str, str]) -> Metadata | None:
    if doi:
        answer = _get(client, f"{url}/works/{_quoted(doi)}", polite)
        return _from_crossref(answer["message"]) if answer is not None else None
    answer = _get(client, f"{url}/works", {"query.bibliographic": title, "rows": "3", **polite})
    return _best(title, map(_from_crossref, answer["message"]["items"])) if answer is not None else None


def _openalex(client: httpx.Client, url: str, doi: str, title: str, polite: Mapping[str, str]) -> Metadata | None:
    if doi:
        answer = _get(client, f"{url}/works/doi:{_quoted(doi)}", polite)
        return _from_openalex(answer) if answer is not None else None
    answer = _get(client, f"{url}/works", {"search": title, "per-page": "3", **polite})
    return _best(title, map(_from_openalex, answer["results"])) if answer is not None else None


def _quoted(doi: str) -> str:
    from urllib.parse import quote

    return quote(doi, safe="/")


def _get(client: httpx.Client, url: str, parameters: Mapping[str, str]) -> dict[str, Any] | None:
    """Return the JSON object behind a URL, None for 404; waits as told when the service is busy."""
    for attempt in range(1, ATTEMPTS + 1):
        response = client.get(url, params=dict(parameters))
        if response.status_code == 404:
            return None
        if response.status_code not in _BUSY or attempt == ATTEMPTS:
            break
        time.sleep(_wait_s(response.headers.get("Retry-After", ""), attempt))
    answer = response.raise_for_status().json()
    if not isinstance(answer, dict):
        raise TypeError(f"expected a JSON object, got {type(answer).__name__}")
    return answer


def _wait_s(retry_after: str, attempt: int) -> float:
    """Return how long to wait: as the service says (seconds or a date, RFC 9110, 10.2.3), else 1, 2, 4 … seconds."""
    asked = parse_retry_after(retry_after)
    return float(2 ** (attempt - 1)) if asked is None else min(asked, LONGEST_WAIT_S)


def _best(title: str, candidates: Iterator[Metadata]) -> Metadata | None:
    """Return the candidate with that very title; a search always finds something."""
    ranked = sorted(((alike(title, each.title), each) for each in candidates), key=lambda pair: pair[0], reverse=True)
    return ranked[0][1] if ranked and ranked[0][0] >= SAME_TITLE else None


def _from_crossref(work: Mapping[str, Any]) -> Metadata:
    dates = (work.get(name) or {} for name in ("published", "issued", "published-online", "published-print"))
    years = [parts[0][0] for date in dates if (parts := date.get("date-parts")) and parts[0] and parts[0][0]]
    people = [
        " ".join(filter(None, [each.get("given"), each.get("family")])) or each.get("name", "")
        for each in work.get("author") or []
    ]
    return Metadata(
        title=_plain("".join((work.get("title") or [""])[:1])),
        authors=tuple(name for name in people if name),
        year=int(years[0]) if years else None,
        doi=str(work.get("DOI") or ""),
        journal=_plain("".join((work.get("container-title") or [""])[:1])),
        language=str(work.get("language") or "")[:2],
    )


def _from_openalex(work: Mapping[str, Any]) -> Metadata:
    source = ((work.get("primary_location") or {}).get("source") or {}).get("display_name") or ""
    people = [(each.get("author") or {}).get("display_name") or "" for each in work.get("authorships") or []]
    year = work.get("publication_year")
    return Metadata(
        title=_plain(work.get("title") or work.get("display_name") or ""),
        authors=tuple(name for name in people if name),
        year=int(year) if year else None,
        doi=clean_doi(work.get("doi") or ""),
        journal=_plain(source),
        language=str(work.get("language") or "")[:2],
    )


def _plain(text: str) -> str:
    """Return a title without the XML marks (<sub>, <i>) that registries keep in it."""
    import html

    return " ".join(html.unescape(re.sub(r"</?[a-zA-Z][^>]*>", "", text)).split())


def _cached(path: Path) -> dict[str, Any] | None:
    """Return the cache entry; None when there is none, a torn one, or an old miss."""
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError):
        return None
    if not isinstance(entry, dict) or "metadata" not in entry:
        return None
    return None if entry["metadata"] is None and time.time() - entry.get("at", 0) > FORGET_MISSES_S else entry


def _metadata_of(entry: Mapping[str, Any]) -> Metadata:
    return Metadata(**{**entry, "authors": tuple(entry.get("authors", ()))})


def _keep(path: Path, entry: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(entry, file, ensure_ascii=False)
    Path(name).replace(path)
