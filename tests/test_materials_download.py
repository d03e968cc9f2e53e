"""Downloads of records: the real mp-api client and OPTIMADE against local servers that fail on purpose."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ingest.errors import BadInput
from ingest.materials import from_mp, parse_records
from ingest.materials.download import DownloadError, KeyRefused, Progress, Query
from ingest.materials.from_mp import download_mp
from ingest.materials.from_optimade import download_optimade, optimade_filter
from tests.servers.materials_project import KEY, MaterialsProject, Optimade
from tests.test_materials_import import OPTIMADE
from ui.cli import main

pytest.importorskip("mp_api.client")

STRUCTURE = {
    "@module": "pymatgen.core.structure",
    "@class": "Structure",
    "lattice": {"matrix": [[0, 2.82, 2.82], [2.82, 0, 2.82], [2.82, 2.82, 0]]},
    "sites": [
        {"species": [{"element": "Na", "occu": 1}], "abc": [0, 0, 0], "label": "Na"},
        {"species": [{"element": "Cl", "occu": 1}], "abc": [0.5, 0.5, 0.5], "label": "Cl"},
    ],
}


def documents(number: int) -> list[dict[str, Any]]:
    return [
        {
            "material_id": f"mp-{1000 + n}",
            "formula_pretty": "NaCl",
            "elements": ["Cl", "Na"],
            "nsites": 2,
            "band_gap": n / 100,
            "energy_above_hull": n / 1000,
            "symmetry": {"crystal_system": "Cubic", "symbol": "Fm-3m", "number": 225},
            "structure": STRUCTURE,
            "last_updated": "2025-01-02T03:04:05Z",
            "unwanted": "x" * 1000,
        }
        for n in range(number)
    ]


QUERY = Query(chemsys="Na-Cl")


def ids_of(path: Path) -> list[str]:
    return [json.loads(line)["material_id"] for line in path.read_text().splitlines()]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(from_mp, "CHUNK", 5)
    monkeypatch.setattr(from_mp, "PAGE", 8)


@pytest.mark.usefixtures("small")
def test_only_what_is_needed_is_asked_for_by_id(tmp_path: Path) -> None:
    with MaterialsProject(documents(12)) as server:
        kept = download_mp(QUERY, tmp_path, key=KEY, endpoint=server.url)
    materials = list(parse_records(kept.records))
    assert [each.material_id for each in materials] == [f"mp-{1000 + n}" for n in range(12)]
    assert (materials[3].spacegroup_number, materials[3].as_of, materials[3].nsites) == (225, "2025-01-02", 2)
    assert "unwanted" not in kept.records.read_text()
    asked = [query for path, query in server.seen if "material_ids" in query]
    assert [len(query["material_ids"].split(",")) for query in asked] == [5, 5, 2]
    assert all("structure" in query["_fields"] for query in asked)


@pytest.mark.usefixtures("small")
def test_dropped_connections_busy_and_broken_servers_lose_and_repeat_nothing(tmp_path: Path) -> None:
    waits: list[float] = []
    told: list[Progress] = []
    with MaterialsProject(documents(40), faults=("drop", "429", "500"), rate=0.25, seed=3) as server:
        kept = download_mp(QUERY, tmp_path, key=KEY, endpoint=server.url, tell=told.append, sleep=waits.append)
    assert server.failed >= 4
    assert sorted(ids_of(kept.records)) == sorted(f"mp-{1000 + n}" for n in range(40))
    assert waits
    assert any(progress.why for progress in told)
    assert told[-1] == Progress(40, 40)


@pytest.mark.usefixtures("small")
def test_an_interrupted_download_goes_on_where_it_was(tmp_path: Path) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.done >= 10:
            raise KeyboardInterrupt

    with MaterialsProject(documents(20)) as server:
        with pytest.raises(KeyboardInterrupt):
            download_mp(QUERY, tmp_path, key=KEY, endpoint=server.url, tell=interrupt)
        [records] = tmp_path.rglob("records.jsonl")
        records.write_text(records.read_text()[:-30])  # a kill in the middle of a line
        before = len(server.seen)
        kept = download_mp(QUERY, tmp_path, key=KEY, endpoint=server.url)
    asked = [query["material_ids"].split(",") for path, query in server.seen[before:] if "material_ids" in query]
    assert sum(map(len, asked)) == 11
    assert sorted(ids_of(kept.records)) == sorted(f"mp-{1000 + n}" for n in range(20))


@pytest.mark.usefixtures("small")
def test_a_server_that_stays_broken_is_given_up_and_what_came_is_kept(tmp_path: Path) -> None:
    with (
        MaterialsProject(documents(5), faults=("500",), rate=1.0) as server,
        pytest.raises(DownloadError, match="error") as caught,
    ):
        download_mp(QUERY, tmp_path, key=KEY, endpoint=server.url, sleep=lambda _: None)
    assert "run the same command again" in caught.value.hint


@pytest.mark.parametrize("key", ["w" * 32, "short", ""])
def test_a_wrong_key_is_refused_at_once_and_never_shown(tmp_path: Path, key: str) -> None:
    waits: list[float] = []
    with MaterialsProject(documents(5)) as server, pytest.raises(KeyRefused) as caught:
        download_mp(QUERY, tmp_path, key=key, endpoint=server.url, sleep=waits.append)
    assert not key or key not in str(caught.value)
    assert "MP_API_KEY" in caught.value.hint
    assert waits == []
    assert not any(key and key in path.read_text() for path in tmp_path.rglob("*") if path.is_file())


def test_filters_limit_and_fields_reach_the_server(tmp_path: Path) -> None:
    query = Query(elements=("Na",), nsites=(None, 4), band_gap_ev=(0.05, None), fields=("band_gap",), limit=3)
    with MaterialsProject(documents(12)) as server:
        kept = download_mp(query, tmp_path, key=KEY, endpoint=server.url)
    assert ids_of(kept.records) == ["mp-1005", "mp-1006", "mp-1007"]
    assert set(json.loads(kept.records.read_text().splitlines()[0])) == {"material_id", "formula_pretty", "band_gap"}


def as_dumped(found: list[Any], shape: str) -> Any:
    """Return documents of the client in a shape in which people pickle them."""
    import pandas as pd

    rows = [each.model_dump() for each in found]
    if shape == "list":
        return rows
    if shape == "by id":
        return {str(each.material_id): row for each, row in zip(found, rows, strict=True)}
    if shape == "table of attributes":  # elements and dates stay objects
        return pd.DataFrame([dict(each) for each in found])
    table = pd.DataFrame(rows)
    return table.set_index(pd.Index([str(each) for each in table.pop("material_id")])) if "index" in shape else table


@pytest.mark.parametrize("shape", ["list", "by id", "table", "table of attributes", "table with ids as index"])
def test_what_the_client_gives_is_read_back_from_a_pickle(tmp_path: Path, shape: str) -> None:
    from mp_api.client.routes.materials.summary import SummaryRester

    with MaterialsProject(documents(3)) as server:
        rester = SummaryRester(api_key=KEY, endpoint=server.url, mute_progress_bars=True)
        found = rester.search(material_ids=["mp-1000", "mp-1001", "mp-1002"], chunk_size=10)
    path = tmp_path / "dump.pkl"
    path.write_bytes(pickle.dumps(as_dumped(found, shape)))
    made = list(parse_records(path, allow_pickle=True))
    # Newer clients write ids in letters: mp-aaaaabmm is mp-1000.
    assert [each.material_id for each in made] == ["mp-1000", "mp-1001", "mp-1002"]
    assert {(each.nsites, each.spacegroup_number, each.as_of) for each in made} == {(2, 225, "2025-01-02")}
    assert [each.band_gap_ev for each in made] == [0.0, 0.01, 0.02]


def test_everything_is_not_downloaded(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="everything"):
        download_mp(Query(), tmp_path, key=KEY)


# --- OPTIMADE ---------------------------------------------------------------------------------------------------------


def entries(number: int) -> list[dict[str, Any]]:
    return [{**OPTIMADE, "id": str(n)} for n in range(number)]


def test_optimade_pages_are_followed_and_failures_survived(tmp_path: Path) -> None:
    waits: list[float] = []
    with Optimade(entries(9), faults=("drop", "429", "500"), rate=0.4, seed=1) as server:
        kept = download_optimade(server.url, QUERY, tmp_path, sleep=waits.append)
    assert server.failed
    assert [each.material_id for each in parse_records(kept.records)] == [f"oqmd-{n}" for n in range(9)]
    assert server.seen[0][1]["filter"] == 'elements HAS ALL "Na", "Cl" AND nelements=2'


def test_an_interrupted_optimade_download_goes_on_where_it_was(tmp_path: Path) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.done == 4:
            raise KeyboardInterrupt

    with Optimade(entries(9)) as server:
        with pytest.raises(KeyboardInterrupt):
            download_optimade(server.url, QUERY, tmp_path, tell=interrupt)
        [records] = tmp_path.rglob("records.jsonl")
        with records.open("a") as file:
            file.write('{"half a line')
        before = len(server.seen)
        kept = download_optimade(server.url, QUERY, tmp_path)
        assert len(server.seen) - before == 3
    assert [each.material_id for each in parse_records(kept.records)] == [f"oqmd-{n}" for n in range(9)]


def test_a_next_page_on_another_host_is_not_followed(tmp_path: Path) -> None:
    with (
        Optimade(entries(9)) as other,
        Optimade(entries(9), elsewhere=other.url) as server,
        pytest.raises(DownloadError, match="another host"),
    ):
        download_optimade(server.url, QUERY, tmp_path)
    assert other.seen == []


@pytest.mark.parametrize(
    ("query", "text"),
    [
        (Query(formula="TiO2"), 'chemical_formula_reduced="O2Ti"'),
        (Query(elements=("Li", "O"), nsites=(2, 20)), 'elements HAS ALL "Li", "O" AND nsites>=2 AND nsites<=20'),
    ],
)
def test_queries_in_the_filter_language(query: Query, text: str) -> None:
    assert optimade_filter(query) == text


@pytest.mark.parametrize("url", ["ftp://x", "nonsense"])
def test_what_is_no_provider_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(BadInput, match="no address"):
        download_optimade(url, QUERY, tmp_path)


def test_another_page_is_no_provider(tmp_path: Path) -> None:
    with MaterialsProject([]) as server, pytest.raises(BadInput, match="401"):
        download_optimade(server.url, QUERY, tmp_path)


# --- verbs ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def run(*words: str) -> tuple[int, str, str]:
        code = main(["materials", *words])
        seen = capsys.readouterr()
        return code, seen.out, seen.err

    return run


def test_a_download_ends_in_the_library(
    run: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with MaterialsProject(documents(6)) as server:
        monkeypatch.setenv("MP_API_KEY", KEY)
        monkeypatch.setenv("MP_API_ENDPOINT", server.url)
        code, out, err = run("download", "--chemsys", "Na-Cl", "--no-vectors")
        assert (code, out.split(";")[0]) == (0, "6 added, 0 updated, 0 unchanged, 0 failed")
        assert run("download", "--chemsys", "Cl-Na", "--no-vectors")[1].startswith("0 added, 0 updated, 6 unchanged")
    assert KEY not in out + err
    assert list((tmp_path / "library" / "downloads").iterdir()) == []
    assert json.loads(run("search", "--formula", "NaCl", "--json")[1])[0]["material_id"] == "mp-1000"
    with Optimade(entries(3)) as provider:
        code, out, _ = run("download", "--optimade", provider.url, "--formula", "NaCl", "--no-vectors")
    assert (code, out.split(",")[0]) == (0, "3 added")


def test_without_a_key_the_next_step_is_said(run: Callable[..., tuple[int, str, str]]) -> None:
    code, _, err = run("download", "--formula", "TiO2", "--no-vectors")
    assert code == 1
    assert "MP_API_KEY is not set" in err
    assert "materialsproject.org/api" in err
    assert "everything" in run("download", "--no-vectors")[2]


def test_records_are_fetched_by_their_ids_and_those_that_there_are_none_of_are_told(
    run: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with MaterialsProject(documents(6)) as server:
        monkeypatch.setenv("MP_API_KEY", KEY)
        monkeypatch.setenv("MP_API_ENDPOINT", server.url)
        code, out, _ = run("download", "mp-1002", "1003", "MP-9999", "--no-vectors")
        assert (code, out.split(";")[0]) == (2, "2 added, 0 updated, 0 unchanged, 1 failed")
        assert "the Materials Project has no record 'mp-9999'" in out
        assert run("download", "mp-1004", "--chemsys", "Na-Cl")[0] == 1
    assert [query["material_ids"] for _, query in server.seen if "material_ids" in query] == ["mp-1002,mp-1003,mp-9999"]
    with Optimade(entries(3)) as provider:
        code, out, _ = run("download", "1", "2", "77", "--optimade", provider.url, "--no-vectors")
    assert provider.seen[0][1]["filter"] == '(id="1" OR id="2" OR id="77")'
    assert code == 2
    assert "has no record '77'" in out
    assert optimade_filter(Query(ids=("1", "2"))) == '(id="1" OR id="2")'


def test_fields_that_there_are_none_of_are_refused_at_once(tmp_path: Path) -> None:
    waits: list[float] = []
    query = Query(chemsys="Na-Cl", fields=("band_gap", "colour"))
    with MaterialsProject(documents(3)) as server, pytest.raises(BadInput, match="no fields \\['colour'\\]") as caught:
        download_mp(query, tmp_path, key=KEY, endpoint=server.url, sleep=waits.append)
    assert "band_gap, bulk_modulus" in caught.value.hint
    assert waits == []


def test_a_server_that_is_not_there_is_named_without_noise(tmp_path: Path) -> None:
    with MaterialsProject([]) as gone:
        url = gone.url
    with pytest.raises(DownloadError, match="cannot be reached: Connection refused") as caught:
        download_mp(QUERY, tmp_path, key=KEY, endpoint=url, sleep=lambda _: None)
    assert len(str(caught.value)) < 100
    with pytest.raises(DownloadError, match="cannot be reached"):
        download_optimade(url, QUERY, tmp_path, sleep=lambda _: None)


@pytest.mark.parametrize(
    ("header", "waited"), [("7", 7.0), ("120", 120.0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0), ("soon", 1.0)]
)
def test_what_a_busy_server_asks_for_is_waited_for(tmp_path: Path, header: str, waited: float) -> None:
    waits: list[float] = []
    with Optimade(entries(1), faults=("429",), rate=1.0) as server:
        server.retry_after = header

        def sleep(seconds: float) -> None:
            waits.append(seconds)
            server.faults = ()

        download_optimade(server.url, QUERY, tmp_path, sleep=sleep)
    assert waits == [pytest.approx(waited, rel=0.26)]


def test_a_wait_of_hours_is_told_and_not_waited_for(tmp_path: Path) -> None:
    waits: list[float] = []
    with Optimade(entries(1), faults=("429",), rate=1.0) as server:
        server.retry_after = "7200"
        with pytest.raises(DownloadError, match="wait 7,200 s"):
            download_optimade(server.url, QUERY, tmp_path, sleep=waits.append)
    assert waits == []


def test_a_provider_that_does_not_name_itself_is_named_by_its_host(tmp_path: Path) -> None:
    class Nameless(Optimade):
        def answer(self, path: str, query: dict[str, str], headers: dict[str, str]) -> Any:
            status, document, more = super().answer(path, query, headers)
            return status, {key: value for key, value in document.items() if key != "meta"}, more

    with Nameless(entries(1)) as server:
        [made] = parse_records(download_optimade(server.url, QUERY, tmp_path).records)
    assert (made.material_id, made.source) == ("127.0.0.1-0", "127.0.0.1")
