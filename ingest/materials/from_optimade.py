"""Structures of an OPTIMADE provider, page by page, from its own host only."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

from ingest.errors import BadInput
from ingest.materials.download import DownloadError, Kept, Progress, Query, Sleep, Tell, patiently
from ingest.materials.formula import composition, reduced_amounts
from ingest.retry_after import parse_retry_after

PAGE = 100
TIMEOUT_S = 60.0
MOST_RESPONSE_BYTES = 256 * 2**20


def download_optimade(
    url: str, query: Query, folder: Path, *, tell: Tell = lambda _: None, sleep: Sleep = time.sleep
) -> Kept:
    """Fetch structures from an OPTIMADE provider page by page into a `Kept` below `folder`.

    Next pages are followed on the provider's own host only.

    Raises:
        BadInput: the address is none, nothing restricts the query, or the provider does not understand it.
        DownloadError: the provider stayed unreachable, or sends its pages elsewhere.
    """
    import httpx

    query.refuse_everything()
    base = _base(url)
    kept = Kept(folder, f"optimade {base}", query)
    state = kept.state() or {"next": _first_page(base, query), "size": 0, "done": 0}
    kept.cut(state["size"])
    with httpx.Client(timeout=TIMEOUT_S, follow_redirects=False, headers={"User-Agent": "matlit"}) as client:
        while state["next"] and (query.limit is None or state["done"] < query.limit):

            def waiting(seconds: float, why: str, done: int = state["done"]) -> None:
                tell(Progress(done, None, seconds, why))

            page = patiently(lambda at=state["next"]: _get(client, at), tell=waiting, sleep=sleep)  # type: ignore[misc]
            left = None if query.limit is None else query.limit - state["done"]
            rows = list(_entries(page, base))[:left]
            kept.append(rows)
            done = state["done"] + len(rows)
            state = {"next": _next(page, state["next"]), "size": kept.size(), "done": done}
            kept.note(**state)
            tell(Progress(done, page.get("meta", {}).get("data_returned")))
    return kept


def _base(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadInput(f"{url!r} is no address", hint="Write it like https://optimade.materialsproject.org")
    path = parts.path.rstrip("/").removesuffix("/structures")
    version = "" if path.rsplit("/", 1)[-1][:1] == "v" and path[-1:].isdigit() else "/v1"
    return f"{parts.scheme}://{parts.netloc}{path}{version}"


def _first_page(base: str, query: Query) -> str:
    return f"{base}/structures?filter={quote(optimade_filter(query))}&page_limit={PAGE}"


def optimade_filter(query: Query) -> str:
    """Return the query in OPTIMADE's filter language. Raises BadInput for what the standard has no name for."""
    if query.band_gap_ev:
        raise BadInput(
            "OPTIMADE has no common name for the band gap", hint="Leave out --band-gap; search it afterwards"
        )
    parts = []
    if query.ids:
        parts.append(f"({' OR '.join(f'id={_quoted(each)}' for each in query.ids)})")
    if query.elements:
        parts.append(f"elements HAS ALL {', '.join(map(_quoted, query.elements))}")
    if query.chemsys:
        system = query.chemsys.split("-")
        parts.append(f"elements HAS ALL {', '.join(map(_quoted, system))} AND nelements={len(system)}")
    if query.formula:
        amounts = reduced_amounts(composition(query.formula))
        counts = [(symbol, "" if amounts[symbol] == 1 else f"{amounts[symbol]:g}") for symbol in sorted(amounts)]
        parts.append(f"chemical_formula_reduced={_quoted(''.join(map(''.join, counts)))}")
    low, high = query.nsites or (None, None)
    parts += [f"nsites>={low:g}"] if low is not None else []
    parts += [f"nsites<={high:g}"] if high is not None else []
    return " AND ".join(parts)


def _quoted(word: str) -> str:
    return f'"{word}"'


def _get(client: Any, url: str) -> dict[str, Any]:
    import httpx

    try:
        with client.stream("GET", url) as response:
            data = b""
            for piece in response.iter_bytes():
                data += piece
                if len(data) > MOST_RESPONSE_BYTES:
                    raise DownloadError(f"{url} answers with more than {MOST_RESPONSE_BYTES:,} bytes", retryable=False)
        status, headers = response.status_code, response.headers
    except httpx.ConnectError as error:
        raise DownloadError(f"{urlsplit(url).netloc} cannot be reached: {error}") from error
    except httpx.HTTPError as error:
        raise DownloadError(f"{urlsplit(url).netloc} did not answer whole: {type(error).__name__}: {error}") from error
    if status == 429 or status >= 500:
        raise _busy(url, status, headers.get("Retry-After", ""))
    if status != 200:
        told = " ".join(data[:300].decode("utf-8", "replace").split())
        raise BadInput(f"{url} answers {status}: {told}", hint="Check the address and the filters")
    try:
        page = json.loads(data)
    except ValueError as error:
        raise DownloadError(f"{urlsplit(url).netloc} sent no JSON: {error}") from error
    if not isinstance(page, dict) or not isinstance(page.get("data"), list):
        raise BadInput(f"{url} is no OPTIMADE answer: it has no list under 'data'", hint="Give the base address")
    return page


def _busy(url: str, status: int, after: str) -> DownloadError:
    return DownloadError(f"{urlsplit(url).netloc} answers {status}", retry_after_s=parse_retry_after(after))


def _entries(page: Mapping[str, Any], base: str) -> Iterator[dict[str, Any]]:
    """Yield the entries, each with who gives it: the provider's prefix, else its host."""
    prefix = ((page.get("meta") or {}).get("provider") or {}).get("prefix", "") or urlsplit(base).hostname
    for entry in page["data"]:
        if isinstance(entry, dict):
            attributes = dict(entry.get("attributes") or {})
            yield {**entry, "attributes": attributes | ({"provider_prefix": prefix} if prefix else {})}


def _next(page: Mapping[str, Any], here: str) -> str:
    """Return the address of the next page, "" after the last. Raises DownloadError where it is on another host."""
    link = (page.get("links") or {}).get("next")
    link = link.get("href") if isinstance(link, Mapping) else link
    if not link:
        return ""
    there = urljoin(here, str(link))
    if _origin(there) != _origin(here):
        raise DownloadError(
            f"{urlsplit(here).netloc} sends its next page to another host: {there[:100]!r}",
            hint="It is not followed; ask the provider's own address",
            retryable=False,
        )
    return there


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port
