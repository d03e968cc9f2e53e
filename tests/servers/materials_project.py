"""Local servers that speak the protocols of the Materials Project (for the real mp-api client) and of OPTIMADE.

Both break on purpose: connections dropped at random pages, 429 with Retry-After, 500, a wrong key, pages elsewhere.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

from servers.local import JsonHandler, LocalServer

KEY = "k" * 32
Answer = tuple[int, Any, dict[str, str]]


class _Handler(JsonHandler):
    server_of: RecordServer

    def answer_get(self) -> None:
        outer, parts = self.server_of, urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        outer.seen.append((parts.path, query))
        fault = outer.fault(parts.path)
        if fault in ("429", "500"):
            self.send(int(fault), {"detail": "busy"}, {"Retry-After": outer.retry_after} if fault == "429" else {})
            return
        status, content, headers = outer.answer(parts.path, query, {k.lower(): v for k, v in self.headers.items()})
        self.send(status, content, headers, broken_off=fault == "drop")


class RecordServer(LocalServer):
    """What both servers share: requests are counted, and every so often one fails, by a seeded choice.

    `faults` is a list of "drop" (the connection ends in the middle of the body), "429", "500"; each request draws one
    with probability `rate`.
    """

    handler = _Handler
    retry_after = "1"  # what a 429 asks to wait

    def __init__(self, *, faults: tuple[str, ...] = (), rate: float = 0.0, seed: int = 0) -> None:
        self.faults, self.rate = faults, rate
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.failed = 0
        self._draw = random.Random(seed)

    def fault(self, path: str) -> str:
        """Return the fault that this request meets, or ""."""
        if "heartbeat" in path or not self.faults or self._draw.random() >= self.rate:
            return ""
        self.failed += 1
        return self._draw.choice(self.faults)

    def answer(self, path: str, query: dict[str, str], headers: dict[str, str]) -> Answer:
        raise NotImplementedError


class MaterialsProject(RecordServer):
    """`/heartbeat` and `/materials/summary/`: filters, fields, pages, and a key that must be right."""

    def __init__(self, documents: list[dict[str, Any]], **faults: Any) -> None:
        self.documents = documents
        super().__init__(**faults)

    def answer(self, path: str, query: dict[str, str], headers: dict[str, str]) -> Answer:
        if path.endswith("heartbeat"):
            return 200, {"db_version": "2025.09.25", "access_controlled_batch_ids": []}, {}
        if headers.get("x-api-key") != KEY:
            return 401, {"detail": "Invalid authentication credentials"}, {}
        if not path.startswith("/materials/summary"):
            return 404, {"detail": "Not Found"}, {}
        found = sorted((each for each in self.documents if _fits(each, query)), key=lambda each: each["material_id"])
        limit = int(query.get("_per_page") or query.get("_limit") or 100)
        skip = int(query.get("_skip") or 0) + limit * (int(query.get("_page") or 1) - 1)
        fields = [name for name in query.get("_fields", "").split(",") if name]
        rows = [{name: each[name] for name in fields if name in each} or each for each in found[skip : skip + limit]]
        return 200, {"data": rows, "meta": {"total_doc": len(found)}}, {}


def _fits(document: dict[str, Any], query: dict[str, str]) -> bool:
    elements = set(document["elements"])
    checks: dict[str, Callable[[str], bool]] = {
        "material_ids": lambda value: document["material_id"] in value.split(","),
        "elements": lambda value: set(value.split(",")) <= elements,
        "chemsys": lambda value: "-".join(sorted(elements)) == "-".join(sorted(value.split("-"))),
        "formula": lambda value: document["formula_pretty"] == value,
        "nsites_min": lambda value: document["nsites"] >= int(value),
        "nsites_max": lambda value: document["nsites"] <= int(value),
        "band_gap_min": lambda value: document["band_gap"] >= float(value),
        "band_gap_max": lambda value: document["band_gap"] <= float(value),
    }
    return all(check(query[name]) for name, check in checks.items() if name in query)


class Optimade(RecordServer):
    """`/v1/structures` with pages of two, linked by `links.next`; `elsewhere` is a host the second page points to."""

    def __init__(self, entries: list[dict[str, Any]], *, elsewhere: str = "", **faults: Any) -> None:
        self.entries, self.elsewhere = entries, elsewhere
        super().__init__(**faults)

    def answer(self, path: str, query: dict[str, str], headers: dict[str, str]) -> Answer:
        if path != "/v1/structures":
            return 404, {"errors": [{"detail": "no such endpoint"}]}, {}
        start = int(query.get("page_offset", 0))
        link = f"{self.elsewhere or self.url}/v1/structures?page_offset={start + 2}"
        following = {"href": link} if start + 2 < len(self.entries) else None
        document = {
            "data": self.entries[start : start + 2],
            "links": {"next": following},
            "meta": {"data_returned": len(self.entries), "provider": {"prefix": "oqmd"}},
        }
        return 200, document, {}
