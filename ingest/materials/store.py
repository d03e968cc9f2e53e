"""Records in the catalogue: their tables, and how they are found again."""

# ruff: noqa: S608 - every name pasted into SQL here is a constant of this module; every value is bound

from __future__ import annotations

import json
import re
import sqlite3
import zlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any

from ingest.errors import BadInput
from ingest.materials.formula import formula_key
from ingest.materials.record import Material
from ingest.materials.spacegroups import find_spacegroup

MATERIALS_SCHEMA = """
CREATE TABLE IF NOT EXISTS materials (
    material_id TEXT PRIMARY KEY,
    formula_pretty TEXT NOT NULL,
    elements TEXT NOT NULL,              -- the chemical system, "Fe-Li-O-P"
    names TEXT NOT NULL,                 -- JSON list
    nsites INTEGER,
    spacegroup_number INTEGER,
    spacegroup_symbol TEXT NOT NULL,
    crystal_system TEXT NOT NULL,
    band_gap_ev REAL,
    band_gap_functional TEXT NOT NULL,
    is_gap_direct INTEGER,
    e_above_hull_ev_per_atom REAL,
    formation_energy_ev_per_atom REAL,
    energy_ev_per_atom REAL,
    density_g_cm3 REAL,
    volume_a3 REAL,
    magnetisation_ub REAL,
    k_vrh_gpa REAL,
    g_vrh_gpa REAL,
    source TEXT NOT NULL,
    source_doi TEXT NOT NULL,
    as_of TEXT NOT NULL,
    structure_json BLOB NOT NULL,        -- deflated
    formula_key TEXT NOT NULL,
    nelements INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS materials_by_formula ON materials (formula_key);
-- Rows are fat with structures; filters and orders that no other index serves are read from here alone.
CREATE INDEX IF NOT EXISTS materials_by_facts ON materials (
    elements, nelements, nsites, band_gap_ev, e_above_hull_ev_per_atom, spacegroup_number, spacegroup_symbol,
    crystal_system, formula_key, formula_pretty, formation_energy_ev_per_atom, density_g_cm3, volume_a3, k_vrh_gpa
);
"""

_FIELDS = tuple(each.name for each in fields(Material))
COLUMNS = (*_FIELDS, "formula_key", "nelements")
_values = attrgetter(*_FIELDS)
INSERT_MATERIAL = f"INSERT OR REPLACE INTO materials ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"
SELECT_MATERIAL = f"SELECT {', '.join(COLUMNS)} FROM materials"
_PACKED_NOTHING, _PACKED_UNREAD = zlib.compress(b"", 3), b"\0"
UNREAD = "null"  # the structure of a record that has one, where it was not read
SELECT_FACTS = SELECT_MATERIAL.replace(
    "structure_json", f"iif(length(structure_json) > {len(_PACKED_NOTHING)}, x'00', x'') AS structure_json"
)


def row(material: Material) -> tuple[object, ...]:
    """Return the values of `COLUMNS`, for `INSERT_MATERIAL`."""
    material_id, formula, elements, names, *facts, structure = _values(material)
    return (
        material_id,
        formula,
        material.chemsys,
        json.dumps(names, ensure_ascii=False) if names else "[]",
        *facts,
        zlib.compress(structure.encode(), 3),
        material.formula_key,
        len(elements),
    )


def insert(connection: sqlite3.Connection, records: Sequence[Material]) -> None:
    """Add or replace records, not their chunks."""
    connection.executemany(INSERT_MATERIAL, map(row, records))


def delete(connection: sqlite3.Connection, ids: Sequence[str]) -> None:
    """Take records out, not their chunks."""
    connection.executemany("DELETE FROM materials WHERE material_id = ?", [(each,) for each in ids])


def how_to_get(material_id: str) -> str:
    """Return the next command where a record is not in the library."""
    look = "Look for it by what it is: matlit materials search --formula F"
    if re.fullmatch(r"(mp|mvc)-\w+", material_id):
        return f"Fetch it: matlit materials download {material_id}. {look}"
    return f"{look}; bring records in: matlit materials import FILE"


def sources(connection: sqlite3.Connection) -> dict[str, int]:
    """Return how many records each source has given, the largest first."""
    sql = "SELECT source, count(*) FROM materials GROUP BY source ORDER BY count(*) DESC, source"
    return dict(connection.execute(sql).fetchall())


def ids_of_source(connection: sqlite3.Connection, source: str) -> list[str]:
    """Return the ids of all records that `source` has given, sorted."""
    sql = "SELECT material_id FROM materials WHERE source = ? ORDER BY material_id"
    return [row[0] for row in connection.execute(sql, (source,))]


@dataclass(frozen=True, slots=True)
class Held:
    """A record as the library holds it: the text of its chunk ("" where it has none), and whether that has a vector."""

    material: Material
    text: str
    embedded: bool


def held(connection: sqlite3.Connection, ids: Sequence[str]) -> dict[str, Held]:
    """Return those of the records `ids` that the library holds."""
    names = ", ".join(f"m.{column}" for column in COLUMNS)
    found: dict[str, Held] = {}
    for start in range(0, len(ids), _VARIABLES):
        batch = ids[start : start + _VARIABLES]
        sql = (
            f"SELECT coalesce(c.text, ''), c.vector IS NOT NULL, {names} FROM materials AS m "
            f"LEFT JOIN chunks AS c ON c.source = m.material_id WHERE m.material_id IN ({', '.join('?' * len(batch))})"
        )
        for text, embedded, *values in connection.execute(sql, batch):
            found[values[0]] = Held(from_row(values), text, bool(embedded))
    return found


def from_row(values: Sequence[Any]) -> Material:
    """Return the material of a row selected with `SELECT_MATERIAL`."""
    named = dict(zip(COLUMNS, values, strict=True))
    direct = named["is_gap_direct"]
    named |= {
        "elements": tuple(named["elements"].split("-")),
        "names": tuple(json.loads(named["names"])),
        "is_gap_direct": None if direct is None else bool(direct),
        "structure_json": _unpacked(named["structure_json"]),
    }
    return Material(**{name: named[name] for name in _FIELDS})


def _unpacked(structure: bytes) -> str:
    if structure == _PACKED_UNREAD:
        return UNREAD
    return zlib.decompress(structure).decode() if structure else ""


_VARIABLES = 500  # question marks in one statement

Range = tuple[float | None, float | None]

SORTS = {  # what results can be ordered by -> column
    "e_above_hull": "e_above_hull_ev_per_atom",
    "band_gap": "band_gap_ev",
    "formation_energy": "formation_energy_ev_per_atom",
    "density": "density_g_cm3",
    "volume": "volume_a3",
    "k_vrh": "k_vrh_gpa",
    "g_vrh": "g_vrh_gpa",
    "magnetisation": "magnetisation_ub",
    "energy": "energy_ev_per_atom",
    "nsites": "nsites",
    "formula": "formula_pretty",
    "id": "material_id",
}
DEFAULT_SORT = "e_above_hull"


@dataclass(frozen=True, slots=True)
class MaterialFilter:
    """Which records a search returns; what is left empty does not restrict.

    `elements` must all occur and `without` none of them; `chemsys` ("Li-Fe-P-O", any order) is exactly the set of
    them; `formula` in any spelling; ranges are inclusive with None for an open end, and leave out records where the
    value is not known; `spacegroup` is a number or a symbol in any spelling; `name` that of a mineral or structure
    type; `numbers` are fields with their ranges, such as ("k_vrh_gpa", (300, None)).
    """

    material_ids: Sequence[str] = ()
    elements: Collection[str] = ()
    without: Collection[str] = ()
    chemsys: str = ""
    formula: str = ""
    nelements: Range | None = None
    nsites: Range | None = None
    band_gap_ev: Range | None = None
    e_above_hull_ev_per_atom: Range | None = None
    spacegroup: int | str | None = None
    crystal_system: str = ""
    functional: str = ""
    direct_gap: bool | None = None
    name: str = ""
    numbers: Sequence[tuple[str, Range]] = ()

    def condition(self) -> tuple[str, list[object]]:
        """Return the filter as SQL over `materials`, and its values. Raises BadInput for a formula that is none."""
        clauses = [*self._words(), *self._ranges(), *self._elements()]  # the cheap ones first
        return " AND ".join(clause for clause, _ in clauses) or "TRUE", [one for _, given in clauses for one in given]

    def _words(self) -> Iterator[tuple[str, Sequence[object]]]:
        if self.material_ids:
            yield f"material_id IN ({', '.join('?' * len(self.material_ids))})", tuple(self.material_ids)
        if self.chemsys:
            yield "elements = ?", ("-".join(sorted({part.strip() for part in self.chemsys.split("-")})),)
        if self.formula:
            yield "formula_key = ?", (formula_key(self.formula),)
        if self.spacegroup:
            number = find_spacegroup(str(self.spacegroup))
            yield "(spacegroup_number = ? OR spacegroup_symbol = ?)", (number, str(self.spacegroup))
        if self.crystal_system:
            yield "crystal_system = ?", (self.crystal_system.lower(),)
        if self.functional:
            yield "band_gap_functional = ? COLLATE NOCASE", (self.functional,)
        if self.direct_gap is not None:
            yield "is_gap_direct = ?", (int(self.direct_gap),)
        if self.name:  # names are a JSON list: ["rutile", …]
            literal = re.sub(r"([%_!])", r"!\1", self.name)
            yield "names LIKE ? ESCAPE '!'", (f'%"{literal}"%',)

    def _elements(self) -> Iterator[tuple[str, Sequence[object]]]:
        for sign, symbols in ((">", self.elements), ("=", self.without)):
            for element in sorted(symbols):
                yield f"instr('-' || elements || '-', ?) {sign} 0", (f"-{element}-",)

    def _ranges(self) -> Iterator[tuple[str, Sequence[object]]]:
        named = ("nelements", "nsites", "band_gap_ev", "e_above_hull_ev_per_atom")
        for column, bounds in (*((name, getattr(self, name)) for name in named), *self.numbers):
            if column not in _FIELDS and column not in named:
                raise BadInput(f"{column!r} is no field of a record")
            for sign, bound in zip((">=", "<="), bounds or (), strict=False):
                if bound is not None:
                    yield f"+{column} {sign} ?", (bound,)  # not by an index of its own: that reads the fat rows


def find(
    connection: sqlite3.Connection,
    where: MaterialFilter | None = None,
    *,
    sort: str = DEFAULT_SORT,
    descending: bool = False,
    limit: int | None = None,
    structures: bool = True,
    **filters: Any,
) -> list[Material]:
    """Return the materials that `where` (or `filters`, its fields) allows, by `sort`, then by id; unknown values last.

    Without `structures` theirs are not read (`UNREAD` where there is one), which is several times faster. Raises
    BadInput for a formula or an order that is none.
    """
    found, _ = search(
        connection,
        where or MaterialFilter(**filters),
        sort=sort,
        descending=descending,
        limit=limit,
        structures=structures,
    )
    return found


def search(
    connection: sqlite3.Connection,
    where: MaterialFilter,
    *,
    sort: str = DEFAULT_SORT,
    descending: bool = False,
    limit: int | None = None,
    structures: bool = False,
) -> tuple[list[Material], int]:
    """Return what `find` does, and how many materials `where` allows in all, found in one pass over the facts."""
    condition, values = where.condition()
    if sort not in SORTS:
        raise BadInput(f"{sort!r} is nothing to sort by", hint=f"Known are {', '.join(SORTS)}")
    column = SORTS[sort]
    order = f"{column} IS NULL, {column}{' DESC' if descending else ''}, material_id"
    # The rows are fat with structures, so the ids are found in an index of the facts alone, and only they are read.
    sql = f"SELECT material_id, count(*) OVER () FROM materials WHERE {condition} ORDER BY {order} LIMIT ?"
    ranked = connection.execute(sql, (*values, -1 if limit is None else limit)).fetchall()
    ids = [row[0] for row in ranked]
    select = SELECT_MATERIAL if structures else SELECT_FACTS
    found: dict[str, Material] = {}
    for start in range(0, len(ids), _VARIABLES):
        batch = ids[start : start + _VARIABLES]
        rows = connection.execute(f"{select} WHERE material_id IN ({', '.join('?' * len(batch))})", batch)
        found.update((row[0], from_row(row)) for row in rows)
    return [found[each] for each in ids if each in found], ranked[0][1] if ranked else 0


def count(connection: sqlite3.Connection, where: MaterialFilter) -> int:
    """Return how many materials `where` allows."""
    condition, values = where.condition()
    return int(connection.execute(f"SELECT count(*) FROM materials WHERE {condition}", values).fetchone()[0])


@dataclass(frozen=True, slots=True)
class Polymorphs:
    """All records of one formula, the most stable first; `ground` are those with the lowest energy above the hull.

    More than one in `ground` is a tie; none means that no record says how stable it is.
    """

    formula: str
    records: tuple[Material, ...]
    ground: tuple[Material, ...]


TIE_EV_PER_ATOM = 1e-6  # energies are given with five digits at most


def polymorphs(connection: sqlite3.Connection, formula: str) -> Polymorphs:
    """Return the polymorphs of a formula, however it is spelled. Raises BadInput when it is none."""
    records = tuple(find(connection, MaterialFilter(formula=formula), structures=False))
    known = [each.e_above_hull_ev_per_atom for each in records if each.e_above_hull_ev_per_atom is not None]
    lowest = min(known, default=None)
    ground = tuple(
        each
        for each in records
        if lowest is not None
        and each.e_above_hull_ev_per_atom is not None
        and each.e_above_hull_ev_per_atom - lowest <= TIE_EV_PER_ATOM
    )
    return Polymorphs(records[0].formula_pretty if records else formula, records, ground)
