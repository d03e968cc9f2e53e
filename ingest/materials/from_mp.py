"""Summary documents of the Materials Project, through its own client; the key goes there and nowhere else."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ingest.errors import BadInput, MatlitError, MissingExtra
from ingest.materials.download import DownloadError, Kept, KeyRefused, Progress, Query, Range, Sleep, Tell, patiently
from ingest.materials.fields import project_id

FIELDS = (  # of the summary documents: what a Material is made of
    "band_gap",
    "bulk_modulus",
    "density",
    "elements",
    "energy_above_hull",
    "energy_per_atom",
    "formation_energy_per_atom",
    "is_gap_direct",
    "last_updated",
    "nsites",
    "shear_modulus",
    "structure",
    "symmetry",
    "total_magnetization",
    "volume",
)
CHUNK = 100  # ids a request: with structures some MB
PAGE = 1000  # ids of a listing


def download_mp(
    query: Query,
    folder: Path,
    *,
    key: str,
    endpoint: str = "",
    tell: Tell = lambda _: None,
    sleep: Sleep = time.sleep,
) -> Kept:
    """Fetch summary documents through mp-api into a `Kept` below `folder`: first the ids, then a hundred at a time.

    Raises:
        BadInput: nothing restricts the query, or the server does not understand it.
        KeyRefused: there is no key, or the server does not take it.
        DownloadError: the server stayed unreachable.
        MissingExtra: mp-api is not installed.
    """
    query.refuse_everything()
    if not key:
        raise KeyRefused("MP_API_KEY is not set")
    kept = Kept(folder, f"mp {endpoint}", query)

    def waiting(seconds: float, why: str) -> None:
        tell(Progress(0, None, seconds, why))

    client = patiently(lambda: _Client(key, endpoint), tell=waiting, sleep=sleep)
    ids = _list_ids(client, query, kept, waiting, sleep)
    done = set(map(project_id, kept.ids()))
    wanted = [each for each in ids if project_id(each) not in done]
    fields = sorted({"material_id", "formula_pretty", *(query.fields or FIELDS)})
    for start in range(0, len(wanted), CHUNK):
        tell(Progress(len(ids) - len(wanted) + start, len(ids)))
        part = wanted[start : start + CHUNK]
        kept.append(patiently(lambda part=part: client.documents(part, fields), tell=waiting, sleep=sleep))  # type: ignore[misc]
    tell(Progress(len(ids), len(ids)))
    return kept


def _list_ids(
    client: _Client, query: Query, kept: Kept, waiting: Callable[[float, str], None], sleep: Sleep
) -> list[str]:
    if query.ids:
        return list(query.ids)[: query.limit]
    state = kept.state()
    ids: list[str] = state.get("ids", [])
    page = state.get("page", 0)
    while not state.get("listed"):
        page += 1
        found = patiently(lambda page=page: client.ids(query, page), tell=waiting, sleep=sleep)  # type: ignore[misc]
        ids += [each for each in found if each not in set(ids)]
        enough = query.limit is not None and len(ids) >= query.limit
        state = {"ids": ids[: query.limit], "page": page, "listed": enough or len(found) < PAGE}
        kept.note(**state)
    return list(state["ids"])


# How the client tells of a bad answer: with an address that holds a hundred ids before the reason.
_REST = re.compile(r"REST query returned with error status code (\d+) on URL \S+(?: with message:)?\s*(.*)", flags=re.S)


class _Client:
    """The Materials Project's own client, its errors made ours and its key kept out of them."""

    def __init__(self, key: str, endpoint: str) -> None:
        try:
            from mp_api.client.routes.materials.summary import SummaryRester
        except ImportError as error:
            raise MissingExtra("a download from the Materials Project", extra="materials") from error
        self._key, self._where = key, f" at {urlsplit(endpoint).netloc}" if endpoint else ""
        make = SummaryRester
        self._rester = self._call(
            lambda: make(api_key=key, endpoint=endpoint or None, use_document_model=False, mute_progress_bars=True)
        )

    def ids(self, query: Query, page: int) -> list[str]:
        """Return one page of the ids that fit, in a stable order."""
        found = self._call(
            lambda: self._rester.search(
                **_search_terms(query),
                fields=["material_id"],
                all_fields=False,
                chunk_size=PAGE,
                _page=page,
                _sort_fields="material_id",
            )
        )
        return [str(document["material_id"]) for document in found]

    def documents(self, ids: Sequence[str], fields: Sequence[str]) -> list[dict[str, Any]]:
        """Return the summary documents of some ids as plain JSON."""
        found = self._call(
            lambda: self._rester.search(
                material_ids=list(ids), fields=list(fields), all_fields=False, chunk_size=len(ids)
            )
        )
        return [_plain(document) for document in found]

    def _call(self, work: Callable[[], Any]) -> Any:
        import requests
        from mp_api.client.core.exceptions import MPRestError

        try:
            return work()
        except MatlitError:
            raise
        except MPRestError as error:
            raise self._translated(str(error)) from None  # its text may hold the request
        except requests.ConnectionError as error:
            reason = re.search(r"\[Errno -?\d+\] ([^')\"]+)", str(error))
            told = reason[1] if reason else self._safe(str(error))
            raise DownloadError(f"the Materials Project{self._where} cannot be reached: {told}") from None
        except (requests.RequestException, json.JSONDecodeError, KeyError, ValueError) as error:
            text = self._safe(f"{type(error).__name__}: {error}")
            raise DownloadError(f"the Materials Project did not answer whole: {text}") from None

    def _translated(self, text: str) -> MatlitError:
        text = self._safe(_REST.sub(r" \1: \2", text))
        if unknown := re.search(r"invalid fields requested: (\[[^\]]*\])", text):
            known = f"The ones matlit reads are {', '.join(FIELDS)}"
            return BadInput(f"the Materials Project knows no fields {unknown[1]}", hint=known)
        if any(sign in text for sign in (" 401", " 403", "valid API key", "Invalid authentication")):
            return KeyRefused(f"the Materials Project does not take the key in MP_API_KEY: {text}")
        if any(sign in text for sign in (" 400", " 404", " 422", "does not support the request")):
            return BadInput(f"the Materials Project does not understand the query: {text}")
        return DownloadError(f"the Materials Project{self._where} answers with an error: {text}")

    def _safe(self, text: str) -> str:
        return " ".join(text.replace(self._key, "…").split())[:300]


def _search_terms(query: Query) -> dict[str, Any]:
    terms: dict[str, Any] = {
        "elements": list(query.elements) or None,
        "chemsys": query.chemsys or None,
        "formula": query.formula or None,
        "num_sites": _closed(query.nsites, int),
        "band_gap": _closed(query.band_gap_ev, float),
    }
    return {name: value for name, value in terms.items() if value is not None}


def _closed(bounds: Range | None, kind: type) -> tuple[Any, Any] | None:
    if bounds is None:
        return None
    low, high = bounds
    return kind(low if low is not None else 0), kind(high if high is not None else 100_000)


def _plain(document: Any) -> dict[str, Any]:
    """Return a document without pymatgen's objects, which mp-api makes of structures."""
    from monty.json import MontyEncoder

    found: dict[str, Any] = json.loads(json.dumps(document, cls=MontyEncoder))
    symmetry = found.get("symmetry")
    if isinstance(symmetry, dict) and isinstance(symmetry.get("crystal_system"), dict):
        symmetry["crystal_system"] = symmetry["crystal_system"].get("value", "")
    return found
