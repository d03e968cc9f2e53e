"""Bringing materials records in: every format, resuming, merging, refusing; and the verbs around them."""

from __future__ import annotations

import gzip
import json
import multiprocessing
import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ingest.embed import make_embedder
from ingest.errors import BadInput, EmbedderError
from ingest.library import Library
from ingest.materials import Material, merged, parse_records
from ingest.materials.importing import import_materials
from ingest.materials.pickles import ForeignClass
from ingest.records import Filter
from ui.cli import main

CELL = {
    "lattice": {"matrix": [[2.82 * 2, 0, 0], [0, 2.82 * 2, 0], [0, 0, 2.82 * 2]]},
    "sites": [
        {"species": [{"element": element, "occu": 1}], "abc": place}
        for element, places in (
            ("Na", ([0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0])),
            ("Cl", ([0.5, 0.5, 0.5], [0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5])),
        )
        for place in places
    ],
}
POSCAR = "rock salt\n1.0\n0 2.82 2.82\n2.82 0 2.82\n2.82 2.82 0\nNa Cl\n1 1\nDirect\n0 0 0\n0.5 0.5 0.5\n"
OPTIMADE = {
    "id": "17",
    "type": "structures",
    "attributes": {
        "elements": ["Cl", "Na"],
        "nelements": 2,
        "elements_ratios": [0.5, 0.5],
        "chemical_formula_reduced": "ClNa",
        "dimension_types": [1, 1, 1],
        "nperiodic_dimensions": 3,
        "lattice_vectors": [[0, 2.82, 2.82], [2.82, 0, 2.82], [2.82, 2.82, 0]],
        "cartesian_site_positions": [[0, 0, 0], [2.82, 2.82, 2.82]],
        "species": [
            {"name": "Na", "chemical_symbols": ["Na"], "concentration": [1]},
            {"name": "Cl", "chemical_symbols": ["Cl"], "concentration": [1]},
        ],
        "species_at_sites": ["Na", "Cl"],
        "nsites": 2,
        "structure_features": [],
        "last_modified": "2024-03-01T00:00:00Z",
        "_oqmd_band_gap": 5.1,
        "_oqmd_stability": 0.0,
        "_oqmd_delta_e": -2.1,
    },
}


def record(number: int, **changes: Any) -> dict[str, Any]:
    return {"material_id": f"mp-{number}", "formula_pretty": "NaCl", "band_gap": 5.0, **changes}


def lines(path: Path, *records: Any) -> Path:
    text = "".join(f"{json.dumps(each)}\n" for each in records)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with Library.create(tmp_path / "lib", embedder=make_embedder("hashing").info, recipe="r") as library:
        yield library


# --- formats ----------------------------------------------------------------------------------------------------------


def test_structure_files_become_records_with_symmetry_and_density(tmp_path: Path, library: Library) -> None:
    (tmp_path / "POSCAR").write_text(POSCAR)
    (tmp_path / "cell.json").write_text(json.dumps(CELL))
    report = import_materials(library, [tmp_path / "POSCAR", tmp_path / "cell.json"])
    assert (report.added, report.failures) == (2, 0)
    for material in library.materials(formula="NaCl"):
        assert (material.spacegroup_number, material.crystal_system) == (225, "cubic")
        assert material.density_g_cm3 == pytest.approx(2.1637, abs=1e-3)


def test_a_cif_keeps_the_id_of_its_database(tmp_path: Path) -> None:
    from pymatgen.core import Lattice, Structure

    text = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0] * 3, [0.5] * 3]).to(fmt="cif")
    path = tmp_path / "x.cif"
    path.write_text(f"{text}\n_cod_database_code 9008678\n")
    material = next(parse_records(path))
    assert (material.material_id, material.source) == ("cod-9008678", "Crystallography Open Database")


def test_an_optimade_entry_keeps_provider_numbers_and_date(tmp_path: Path) -> None:
    path = tmp_path / "answer.json"
    path.write_text(json.dumps({"data": [OPTIMADE]}))
    material = next(parse_records(path))
    assert (material.material_id, material.formula_pretty, material.source) == ("oqmd-17", "NaCl", "OQMD")
    assert (material.band_gap_ev, material.formation_energy_ev_per_atom) == (5.1, -2.1)
    assert (material.as_of, material.density_g_cm3) == ("2024-03-01", pytest.approx(2.1637, abs=1e-3))


@pytest.mark.shared
def test_every_bad_optimade_record_is_refused_with_a_reason_of_its_own(shared_data: Path) -> None:
    bad: list[Any] = []
    good = list(parse_records(shared_data / "materials" / "optimade_test_structures.json", on_error=bad.append))
    assert (len(good), bad) == (17, [])
    assert not list(parse_records(shared_data / "materials" / "optimade_bad_structures.json", on_error=bad.append))
    assert len(bad) == 31
    assert [each.record for each in bad] == list(range(1, 32))
    assert [each.field for each in bad[:9]] == [
        "elements",
        "cartesian_site_positions[4]",
        "species_at_sites",
        "species_at_sites",
        "species[Ac]",
        "pretty_formula",
        "species_at_sites",
        "elements",
        "structure_features",
    ]


@pytest.mark.shared
def test_the_real_files_import_fully(shared_data: Path, library: Library) -> None:
    report = import_materials(library, [shared_data / "materials"])
    assert report.failures == 31
    assert {failure.path.name for failure in report.failed} == {"optimade_bad_structures.json"}
    assert report.added + report.updated + report.unchanged == 30 + 1310 + 1256 + 1181 + 17
    assert import_materials(library, [shared_data / "materials" / "mp_elastic_2015.jsonl.gz"]).unchanged == 1181


# --- pickles ----------------------------------------------------------------------------------------------------------


def tutorial_rows() -> list[dict[str, Any]]:
    from pymatgen.core import Structure

    return [
        {"material_id": "mp-22862", "formula_pretty": "NaCl", "band_gap": 5.0, "structure": Structure.from_dict(CELL)}
    ]


def shapes() -> dict[str, Any]:
    import pandas as pd

    rows = tutorial_rows()
    return {
        "list": rows,
        "table": pd.DataFrame(rows),
        "columns": {key: [row[key] for row in rows] for key in rows[0]},
        "by id": {"mp-22862": {key: rows[0][key] for key in ("formula_pretty", "band_gap", "structure")}},
    }


@pytest.mark.parametrize("shape", ["list", "table", "columns", "by id"])
def test_the_dumps_of_the_tutorial_are_read(tmp_path: Path, shape: str) -> None:
    path = tmp_path / "dump.pkl"
    path.write_bytes(pickle.dumps(shapes()[shape]))
    [material] = parse_records(path, allow_pickle=True)
    assert (material.material_id, material.band_gap_ev, material.nsites) == ("mp-22862", 5.0, 8)


def test_a_table_with_dates_and_missing_values_is_read(tmp_path: Path) -> None:
    import pandas as pd

    table = pd.DataFrame(
        {
            "material_id": ["mp-1", "mp-2"],
            "formula_pretty": pd.array(["NaCl", "KCl"], dtype="string"),
            "nsites": pd.array([8, None], dtype="Int64"),
            "is_gap_direct": pd.array([True, None], dtype="boolean"),
            "band_gap": [5.0, float("nan")],
            "last_updated": pd.to_datetime(["2024-01-02", None], utc=True),
            "crystal_system": pd.Categorical(["cubic", "cubic"]),
        }
    )
    path = tmp_path / "dump.pkl"
    path.write_bytes(pickle.dumps(table))
    first, second = parse_records(path, allow_pickle=True)
    assert (first.nsites, first.is_gap_direct, first.band_gap_ev, first.as_of) == (8, True, 5.0, "2024-01-02")
    assert (second.nsites, second.is_gap_direct, second.band_gap_ev, second.as_of) == (None, None, None, "")


@pytest.mark.parametrize(
    ("written", "read"),
    [("mp-aaaaaaft", "mp-149"), ("mvc-aaaaabmm", "mvc-1000"), ("mp-aaaiaaaa", "mp-aaaiaaaa"), ("mp-foo", "mp-foo")],
)
def test_ids_in_letters_are_the_ids_that_everybody_knows(tmp_path: Path, written: str, read: str) -> None:
    [material] = parse_records(lines(tmp_path / "a.jsonl", record(1, material_id=written)))
    assert material.material_id == read


def test_a_pickle_of_structures_alone_is_read(tmp_path: Path) -> None:
    path = tmp_path / "dump.pkl"
    path.write_bytes(pickle.dumps([tutorial_rows()[0]["structure"]]))
    [material] = parse_records(path, allow_pickle=True)
    assert (material.formula_pretty, material.spacegroup_number) == ("NaCl", 225)


def test_a_pickle_is_refused_unless_allowed(tmp_path: Path, library: Library) -> None:
    path = tmp_path / "dump.pkl"
    path.write_bytes(pickle.dumps([]))
    with pytest.raises(BadInput, match="can carry code"):
        import_materials(library, [path])


class Evil:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize(
    "thing", [Evil(os.system, "touch /tmp/matlit-was-here"), Evil(eval, "1"), Evil(getattr, "x", "__class__")]
)
def test_a_pickle_that_names_code_is_refused_before_anything_runs(tmp_path: Path, thing: Evil) -> None:
    path = tmp_path / "evil.pkl"
    path.write_bytes(pickle.dumps([thing]))
    with pytest.raises(ForeignClass):
        list(parse_records(path, allow_pickle=True))
    assert not Path("/tmp/matlit-was-here").exists()


def test_a_damaged_pickle_is_said_to_be_one(tmp_path: Path) -> None:
    path = tmp_path / "cut.pkl"
    path.write_bytes(pickle.dumps(tutorial_rows())[:-40])
    with pytest.raises(BadInput, match="cannot be unpickled"):
        list(parse_records(path, allow_pickle=True))


# --- importing --------------------------------------------------------------------------------------------------------


def test_the_same_file_twice_changes_nothing_and_a_later_one_updates(tmp_path: Path, library: Library) -> None:
    path = lines(tmp_path / "a.jsonl.gz", *(record(n) for n in range(5)))
    assert import_materials(library, [path]).added == 5
    before = library.chunk_ids()
    assert import_materials(library, [path]).unchanged == 5
    lines(path, record(0, band_gap=4.0), *(record(n) for n in range(1, 6)))
    report = import_materials(library, [path])
    assert (report.added, report.updated, report.unchanged, report.held) == (1, 1, 4, 6)
    assert library.material("mp-0").band_gap_ev == 4.0
    assert set(before) < set(library.chunk_ids())


def test_bad_records_are_listed_and_the_rest_comes_in(tmp_path: Path, library: Library) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(
        f"{json.dumps(record(1))}\n{{broken\n{json.dumps(record(2, band_gap='x'))}\n{json.dumps(record(3))}\n"
    )
    report = import_materials(library, [path])
    assert (report.added, report.failures) == (2, 2)
    assert [(each.record, each.field) for each in report.failed] == [(2, ""), (3, "band_gap")]


def test_one_id_twice_in_a_file_is_one_record(tmp_path: Path, library: Library) -> None:
    path = lines(tmp_path / "a.jsonl", record(1), record(1, energy_above_hull=0.0), record(1))
    report = import_materials(library, [path])
    assert (report.added, report.updated, report.unchanged, report.held) == (1, 1, 1, 1)
    assert library.material("mp-1").e_above_hull_ev_per_atom == 0.0


def test_vectors_can_be_added_later(tmp_path: Path, library: Library) -> None:
    path = lines(tmp_path / "a.jsonl", *(record(n) for n in range(3)))
    import_materials(library, [path])
    assert library.status()["vectors"] == 0
    assert library.lexical("band gap of NaCl", k=5, where=Filter())
    embedder = make_embedder("hashing")
    assert import_materials(library, [path], embedder=embedder).unchanged == 3
    assert library.status()["vectors"] == 3
    assert library.verify().clean
    assert len(library.dense(embedder.embed_query("NaCl"), k=5)) == 3


def test_other_processes_index_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.materials.importing.BATCH", 3)
    monkeypatch.setattr("ingest.materials.importing.POOL_FROM", 6)
    path = lines(tmp_path / "a.jsonl", *(record(n, band_gap=n / 10) for n in range(20)))
    made = []
    for workers in (1, 2):
        folder = tmp_path / f"lib{workers}"
        with Library.create(folder, embedder=make_embedder("hashing").info, recipe="r") as library:
            import_materials(library, [path], workers=workers)
        with sqlite3.connect(folder / "catalog.sqlite") as connection:
            made.append(
                [
                    connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall()
                    for table in ("terms", "chunk_elements", "chunk_formulas", "lexicon", "materials")
                ]
            )
    assert made[0] == made[1]


def test_an_embedder_in_a_process_of_its_own_gives_the_same_vectors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.materials.importing.BATCH", 4)
    monkeypatch.setattr("ingest.materials.importing.POOL_FROM", 6)
    rows = [record(n, band_gap=n / 10) for n in range(18)]
    rows.insert(9, record(1, band_gap=7.5))  # another word on a record that is still waiting for its vector
    path = lines(tmp_path / "a.jsonl", *rows)
    embedder = make_embedder("all-MiniLM-L6-v2")
    made = []
    for workers in (1, 2):
        folder = tmp_path / f"lib{workers}"
        with Library.create(folder, embedder=embedder.info, recipe="r") as library:
            report = import_materials(library, [path], embedder=embedder, workers=workers)
            assert (report.added, report.updated, library.status()["vectors"]) == (18, 1, 18)
            assert library.material("mp-1").band_gap_ev == 7.5
            assert library.verify().clean
        with sqlite3.connect(folder / "catalog.sqlite") as connection:
            made.append(connection.execute("SELECT id, text, vector FROM chunks ORDER BY id").fetchall())
    assert made[0] == made[1]


def test_an_embedding_process_that_dies_is_named_and_the_import_goes_on_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.materials.importing.BATCH", 4)
    monkeypatch.setattr("ingest.materials.importing.POOL_FROM", 6)
    path = lines(tmp_path / "a.jsonl", *(record(n, band_gap=n / 10) for n in range(40)))
    embedder = make_embedder("all-MiniLM-L6-v2")

    def kill(report: object) -> None:
        for each in multiprocessing.active_children():
            each.kill()

    with Library.create(tmp_path / "lib", embedder=embedder.info, recipe="r") as made:
        with pytest.raises(EmbedderError, match="process that computes vectors has ended") as caught:
            import_materials(made, [path], embedder=embedder, workers=2, on_progress=kill)
        assert "goes on" in caught.value.hint
        assert import_materials(made, [path], embedder=embedder).read == 40
        assert made.status()["vectors"] == 40
        assert made.verify().clean


def test_a_limit_and_a_folder(tmp_path: Path, library: Library) -> None:
    lines(tmp_path / "x" / "a.jsonl" if (tmp_path / "x").mkdir() is None else tmp_path, *(record(n) for n in range(9)))
    (tmp_path / "x" / "notes.txt").write_text("no records")
    assert import_materials(library, [tmp_path / "x"], limit=4).read == 4
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="holds no file of materials records"):
        import_materials(library, [tmp_path / "empty"])


def test_a_killed_import_goes_on_where_it_was(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", *(record(n, band_gap=n / 1e4) for n in range(12_000)))
    folder = tmp_path / "lib"
    command = [sys.executable, "-m", "ui", "--library", str(folder), "materials", "import", str(path), "--no-vectors"]
    process = subprocess.Popen([*command, "--workers", "1"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and count_of(folder) < 1000:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    there = count_of(folder)
    assert 1000 <= there < 12_000
    with Library.open(folder) as library:
        assert library.verify().clean
        report = import_materials(library, [path])
        assert (report.unchanged, report.added, report.held) == (there, 12_000 - there, 12_000)
        assert library.verify().clean


def test_the_workers_of_a_killed_import_do_not_stay(tmp_path: Path) -> None:
    script = (
        "import time\n"
        "from ingest.apart import make_pool\n"
        "from ingest.materials import importing\n"
        "pool = make_pool(1)\n"
        "print(pool.submit(importing.make_entries, []).result(), list(pool._processes)[0], flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        worker = int(process.stdout.readline().split()[-1])
        process.kill()
    deadline = time.monotonic() + 20
    while is_running(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(worker)


def is_running(pid: int) -> bool:
    import psutil

    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def count_of(folder: Path) -> int:
    try:
        with sqlite3.connect(f"file:{folder / 'catalog.sqlite'}?mode=ro", uri=True) as connection:
            return int(connection.execute("SELECT count(*) FROM materials").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


# --- merging ----------------------------------------------------------------------------------------------------------

WHOLE = Material("mp-1", "NaCl", ("Cl", "Na"), nsites=2, band_gap_ev=5.0, band_gap_functional="PBE", volume_a3=45.0,
                 density_g_cm3=2.1, as_of="2019", structure_json='{"a":1}', source="Materials Project")  # fmt: skip


def test_a_record_without_structure_or_gap_keeps_those_that_were_there() -> None:
    newer = Material("mp-1", "NaCl", ("Cl", "Na"), nsites=2, volume_a3=45.1, e_above_hull_ev_per_atom=0.0, as_of="2024")
    both = merged(WHOLE, newer)
    assert (both.structure_json, both.volume_a3, both.e_above_hull_ev_per_atom) == ('{"a":1}', 45.1, 0.0)
    assert (both.band_gap_ev, both.band_gap_functional, both.as_of) == (5.0, "PBE", "2019")
    assert merged(both, newer) == both


def test_numbers_of_another_cell_are_not_mixed() -> None:
    both = merged(WHOLE, Material("mp-1", "NaCl", ("Cl", "Na"), nsites=8, volume_a3=180.0))
    assert (both.nsites, both.volume_a3, both.structure_json, both.density_g_cm3) == (8, 180.0, "", None)


def test_a_gap_comes_with_its_own_functional() -> None:
    both = merged(WHOLE, Material("mp-1", "NaCl", ("Cl", "Na"), band_gap_ev=8.0))
    assert (both.band_gap_ev, both.band_gap_functional, both.as_of) == (8.0, "", "")


def test_another_material_of_the_same_id_replaces_it() -> None:
    other = Material("mp-1", "KCl", ("Cl", "K"))
    assert merged(WHOLE, other) == other


# --- verbs ------------------------------------------------------------------------------------------------------------


def test_import_search_and_show_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = lines(
        tmp_path / "a.jsonl",
        record(1, energy_above_hull=0.0, formula_pretty="Li2O2", band_gap=2.0),
        record(2, energy_above_hull=0.1, formula_pretty="Li2O", band_gap=5.0),
        record(3, formula_pretty="broken!"),
    )
    assert main(["materials", "import", str(path), "--no-vectors"]) == 2
    out = capsys.readouterr().out
    assert "2 added" in out
    assert "'broken!'" in out or '"broken!"' in out
    assert main(["materials", "search", "--chemsys", "O-Li", "--hull-max", "0", "--band-gap", "1..3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["material_id"] for each in found] == ["mp-1"]
    assert found[0]["quantities"]["band_gap_ev"] == {
        "name": "band gap",
        "value": 2.0,
        "unit": "eV",
        "functional": "PBE",
        "direct": None,
    }
    assert main(["materials", "show", "mp-2"]) == 0
    assert "PBE band gap 5 eV" in capsys.readouterr().out


def test_records_are_removed_with_all_that_makes_them_found(tmp_path: Path, library: Library) -> None:
    first = lines(tmp_path / "a.jsonl", *(record(number) for number in range(1, 6)))
    import_materials(library, [first], embedder=make_embedder("hashing"))
    import_materials(library, [lines(tmp_path / "b.jsonl", record(9, formula_pretty="KBr"))])  # without a vector
    with library.writer() as writer:
        writer.remove_materials(["mp-1", "mp-9", "mp-404"])
    assert [each.material_id for each in library.materials()] == ["mp-2", "mp-3", "mp-4", "mp-5"]
    assert library.verify().clean
    assert library.vectors().count() == library.status()["vectors"] == 4
    assert not library.lexical("KBr", k=5)
    asked = make_embedder("hashing").embed_query("NaCl")
    assert {library.chunks([found])[0].source for found, _ in library.dense(asked, k=9)} == {
        "mp-2",
        "mp-3",
        "mp-4",
        "mp-5",
    }


def test_records_are_removed_by_id_or_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    oqmd = lines(tmp_path / "oqmd.json", {"data": [OPTIMADE]})
    assert main(["materials", "import", str(lines(tmp_path / "a.jsonl", record(1), record(2))), "--no-vectors"]) == 0
    assert main(["materials", "import", str(oqmd), "--no-vectors"]) == 0
    capsys.readouterr()
    assert main(["materials", "remove", "mp-1", "mp-404"]) == 1  # nothing is removed where one is unknown
    assert "no material 'mp-404'" in capsys.readouterr().err
    assert main(["materials", "remove", "--source", "Nobody"]) == 1
    error = capsys.readouterr().err
    assert "no record comes from 'Nobody'" in error
    assert "'Materials Project' (2)" in error
    assert main(["materials", "remove", "--source", "Materials Project", "--dry-run"]) == 0
    assert "would remove 2 records" in capsys.readouterr().out
    assert main(["materials", "remove", "mp-1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == ["mp-1"]
    assert main(["materials", "remove", "--source", "Materials Project", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == ["mp-2"]
    assert main(["materials", "search", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 1
    assert main(["verify"]) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["materials", "remove"], "name records or a source"),
        (["materials", "remove", "mp-1", "--source", "S"], "name records or a source"),
        (["materials", "show", "mp-404"], "no material 'mp-404'"),
        (["materials", "search", "--band-gap", "3..1"], "runs backwards"),
        (["materials", "search", "--band-gap", "x"], "is no range"),
        (["materials", "search", "--sort", "beauty"], "nothing to sort by"),
        (["materials", "search", "--elements", "Xx"], "no chemical element"),
        (["materials", "import", "nowhere.jsonl"], "there is no file"),
    ],
)
def test_what_is_wrong_is_said_with_the_value(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    main(["materials", "import", str(lines(tmp_path / "a.jsonl", record(1))), "--no-vectors"])
    capsys.readouterr()
    assert main(words) == 1
    assert message in capsys.readouterr().err
