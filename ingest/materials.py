"""Records of computed materials: reading them from files, saying them as text, and their tables in the catalogue.

Units stand in the names: energies in eV or eV per atom, lengths in ångström, densities in g/cm³, moduli in GPa,
magnetisation in Bohr magnetons per cell. Structures travel as JSON in pymatgen's dictionary form; pymatgen itself is
not needed here.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import re
import sqlite3
import unicodedata
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import IO, Any, NamedTuple

from ingest.elements import NUMBERS, WEIGHTS_U, electronegativity
from ingest.errors import BadInput
from ingest.records import Chunk, chunk_id

MATERIALS_PROJECT = "Materials Project"
MATERIALS_PROJECT_DOI = "10.1063/1.4812323"  # Jain et al., APL Materials 1, 011002 (2013)

SUFFIXES = (".json", ".jsonl", ".ndjson", ".json.gz", ".jsonl.gz", ".ndjson.gz")


@dataclass(frozen=True, slots=True)
class Material:
    """One computed material. What is not known is None, or "" for words; nothing is guessed.

    `band_gap_functional` is "PBE", "PBE+U", … and `as_of` the year or date of the database that the gap was taken from.
    `structure_json` is the cell in pymatgen's dictionary form, "" when the source gives none.
    """

    material_id: str
    formula_pretty: str
    elements: tuple[str, ...]  # sorted by symbol
    names: tuple[str, ...] = ()  # "rutile", "silicon"
    nsites: int | None = None  # atoms in the cell that `volume_a3` belongs to
    spacegroup_number: int | None = None
    spacegroup_symbol: str = ""
    crystal_system: str = ""
    band_gap_ev: float | None = None
    band_gap_functional: str = ""
    is_gap_direct: bool | None = None
    e_above_hull_ev_per_atom: float | None = None
    formation_energy_ev_per_atom: float | None = None
    energy_ev_per_atom: float | None = None
    density_g_cm3: float | None = None
    volume_a3: float | None = None
    magnetisation_ub: float | None = None
    k_vrh_gpa: float | None = None
    g_vrh_gpa: float | None = None
    source: str = ""
    source_doi: str = ""
    as_of: str = ""
    structure_json: str = ""

    @property
    def chemsys(self) -> str:
        """Return the chemical system as the Materials Project writes it: "Fe-Li-O-P"."""
        return "-".join(self.elements)

    @property
    def nelements(self) -> int:
        """Return how many elements it holds."""
        return len(self.elements)

    @property
    def formula_key(self) -> str:
        """Return the same key for every way of writing the formula: "Fe1 Li1 O4 P1"."""
        return formula_key(self.formula_pretty)

    @property
    def title(self) -> str:
        """Return a short name for lists of results: "TiO2, rutile (mp-2657)"."""
        return f"{', '.join((self.formula_pretty, *self.names[:1]))} ({self.material_id})"

    @property
    def structure(self) -> dict[str, Any] | None:
        """Return the structure as a dictionary (`pymatgen.core.Structure.from_dict` takes it), or None."""
        return json.loads(self.structure_json) if self.structure_json else None


class BadRecord(BadInput):
    """One record of a file cannot be used; the others are not affected.

    `record` counts from 1, and `field` names what is wrong with it ("" when the record as a whole is).
    """

    hint = "The other records of the file are not affected; mend this one, or go on without it"

    def __init__(self, message: str, *, path: Path, record: int, field: str = "") -> None:
        where = f"record {record} of {path.name}" + (f", field {field!r}" if field else "")
        super().__init__(f"{where}: {message}")
        self.path, self.record, self.field = path, record, field


# --- reading files --------------------------------------------------------------------------------


def parse_records(path: Path, *, on_error: Callable[[BadRecord], None] | None = None) -> Iterator[Material]:
    """Yield the materials of a JSON or JSON Lines file (`.gz` or not), one at a time, in its order.

    Understood are the formats of `FORMATS`, each record on its own. A bad record goes to `on_error` and the rest
    continues; without `on_error` it is raised. A JSON file that breaks off gives what stands before the break.

    Raises BadInput when the file is missing or of another kind, BadRecord as said.
    """
    path = Path(path)
    for number, value in _numbered(path):
        try:
            if isinstance(value, _Broken):
                raise BadRecord(value.reason, path=path, record=number)
            yield _convert(value)
        except _FieldError as error:
            bad = BadRecord(str(error), path=path, record=number, field=error.field)
            if on_error is None:
                raise bad from error
            on_error(bad)
        except BadRecord as bad:
            if on_error is None:
                raise
            on_error(bad)


def _convert(value: object) -> Material:
    if not isinstance(value, dict):
        raise _FieldError("", f"is {_show(value)}, not an object")
    for form in FORMATS:
        if form.recognises(value):
            return form.convert(value)
    known = ", ".join(form.name for form in FORMATS)
    raise _FieldError("", f"none of the known formats ({known}); its fields begin {sorted(map(str, value))[:6]}")


class _FieldError(Exception):
    """A value of a record is unusable; becomes a BadRecord where the record's number is known."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class _Broken(NamedTuple):
    reason: str


def _numbered(path: Path) -> Iterator[tuple[int, object]]:
    name = path.name.lower()
    if not name.endswith(SUFFIXES):
        raise BadInput(f"{path.name!r} is no file of materials records", hint=f"Known endings: {' '.join(SUFFIXES)}")
    values = _json_values if ".json" in name and ".jsonl" not in name else _lines
    try:
        with _open(path) as file:
            yield from enumerate(values(file), start=1)
    except FileNotFoundError:
        raise BadInput(f"there is no file {str(path)!r}", hint="Check the path") from None
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise BadInput(
            f"{path.name!r} cannot be read: {error}", hint="Fetch the file again; it looks damaged"
        ) from error


def _open(path: Path) -> IO[str]:
    if path.name.lower().endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8")
    return path.open(encoding="utf-8-sig")


def _lines(file: IO[str]) -> Iterator[object]:
    for line in file:
        if line.strip():
            try:
                yield json.loads(line)
            except ValueError as error:
                yield _Broken(f"not JSON ({error})")


_BLOCK_CHARACTERS = 1 << 16
_SEPARATORS = re.compile(r"[\s,\]]*")


def _json_values(file: IO[str]) -> Iterator[object]:
    """Yield the items of a JSON array, of the list under "data" of an object, or of values one after the other.

    The file is decoded item by item, so that an array of any length costs the memory of one item.
    """
    for value in _stream(file):
        items = value.get("data") if isinstance(value, dict) else None
        if isinstance(items, list):
            yield from items
        else:
            yield value


def _stream(file: IO[str]) -> Iterator[object]:
    decoder, buffer, wanted = json.JSONDecoder(), file.read(_BLOCK_CHARACTERS).lstrip(), _BLOCK_CHARACTERS
    buffer = buffer.removeprefix("[")
    while True:
        buffer = buffer[_SEPARATORS.match(buffer).end() :]  # type: ignore[union-attr]  # it matches the empty string
        try:
            value, end = decoder.raw_decode(buffer)
            if end == len(buffer) and not isinstance(value, dict | list):
                raise ValueError("a number at the very end of what was read may go on")
        except ValueError as error:
            more = file.read(wanted)
            if not more:
                if buffer:
                    yield _Broken(f"not JSON, or the file breaks off ({error}); what follows cannot be read")
                return
            buffer, wanted = buffer + more, 2 * wanted  # doubling keeps a large item from being decoded again and again
            continue
        yield value
        buffer, wanted = buffer[end:], _BLOCK_CHARACTERS


# --- the formats ----------------------------------------------------------------------------------


class Format(NamedTuple):
    """How one kind of record is recognised by its fields, and what makes a Material of it."""

    name: str
    recognises: Callable[[Mapping[str, Any]], bool]
    convert: Callable[[Mapping[str, Any]], Material]


def _summary(record: Mapping[str, Any]) -> Material:
    """Read a Materials Project summary document, today's field names first, those of the older API after them."""
    material_id = _word(record, "material_id", "task_id")
    cell = _cell(record.get("structure"))
    formula = _word(record, "formula_pretty", "pretty_formula") or (cell.formula if cell else "")
    elements = _elements(record, formula, cell)
    return Material(
        material_id=material_id,
        formula_pretty=formula,
        elements=elements,
        names=_words(record, "names"),
        nsites=_sites(record, cell),
        spacegroup_number=_spacegroup(record, "symmetry.number", "spacegroup.number"),
        spacegroup_symbol=_word(record, "symmetry.symbol", "spacegroup.symbol"),
        crystal_system=_word(record, "symmetry.crystal_system", "spacegroup.crystal_system").lower()
        or crystal_system(_spacegroup(record, "symmetry.number", "spacegroup.number")),
        band_gap_ev=_number(record, "band_gap", least=0),
        band_gap_functional=_functional(record, elements),
        is_gap_direct=_truth(record, "is_gap_direct"),
        e_above_hull_ev_per_atom=_number(record, "energy_above_hull", "e_above_hull"),
        formation_energy_ev_per_atom=_number(record, "formation_energy_per_atom"),
        energy_ev_per_atom=_number(record, "energy_per_atom"),
        density_g_cm3=_number(record, "density", least=0) or (cell.density_g_cm3 if cell else None),
        volume_a3=_number(record, "volume", least=0) or (cell.volume_a3 if cell else None),
        magnetisation_ub=_number(record, "total_magnetization"),
        k_vrh_gpa=_number(record, "bulk_modulus.vrh", "elasticity.K_VRH"),
        g_vrh_gpa=_number(record, "shear_modulus.vrh", "elasticity.G_VRH"),
        structure_json=cell.json if cell else "",
        **_origin(record, material_id),
    )


def _computed_entry(record: Mapping[str, Any]) -> Material:
    """Read an entry of a thermodynamic set: composition, total energy and correction of the cell, structure."""
    entry_id = _word(record, "entry_id")
    amounts = _amounts(record, "composition")
    cell = _cell(record.get("structure"))
    atoms = sum(amounts.values())
    energy = _number(record, "energy_eV", "energy")
    corrected = None if energy is None else energy + (_number(record, "correction_eV", "correction") or 0.0)
    return Material(
        material_id=entry_id,
        formula_pretty=reduced_formula(amounts),
        elements=_agreeing(tuple(sorted(amounts)), cell),
        nsites=_sites(record, cell) or round(atoms),
        energy_ev_per_atom=None if corrected is None else corrected / atoms,
        density_g_cm3=cell.density_g_cm3 if cell else None,
        volume_a3=cell.volume_a3 if cell else None,
        structure_json=cell.json if cell else "",
        **_origin(record, entry_id),
    )


def _elastic(record: Mapping[str, Any]) -> Material:
    """Read a record of the elastic data set: structure and bulk modulus; its id is made of the content."""
    cell = _cell(record.get("structure"))
    formula = _word(record, "formula") or (cell.formula if cell else "")
    digest = hashlib.sha256((cell.json if cell else formula).encode()).hexdigest()[:12]
    material_id = f"{reduced_formula(composition(formula, field='formula'))}-{digest}"
    return Material(
        material_id=material_id,
        formula_pretty=reduced_formula(composition(formula, field="formula")),
        elements=_elements(record, formula, cell),
        nsites=_sites(record, cell),
        density_g_cm3=cell.density_g_cm3 if cell else None,
        volume_a3=cell.volume_a3 if cell else None,
        k_vrh_gpa=_number(record, "K_VRH"),
        g_vrh_gpa=_number(record, "G_VRH"),
        structure_json=cell.json if cell else "",
        **_origin(record, material_id),
    )


def _gap_row(record: Mapping[str, Any]) -> Material:
    """Read a row of the band-gap set: cell lengths and angles, species, fractional coordinates, gap and its year."""
    material_id = _word(record, "material_id")
    cell = _cell(_structure_of_row(record))
    formula = _word(record, "formula") or (cell.formula if cell else "")
    elements = _elements(record, formula, cell)
    number = _spacegroup(record, "spacegroup_number")
    origin = _origin(record, material_id)
    origin["as_of"] = _word(record, "gap_source").removeprefix("mp") or origin["as_of"]
    return Material(
        material_id=material_id,
        formula_pretty=formula,
        elements=elements,
        nsites=_sites(record, cell),
        spacegroup_number=number,
        spacegroup_symbol=_word(record, "spacegroup"),
        crystal_system=crystal_system(number),
        band_gap_ev=_number(record, "band_gap", least=0),
        band_gap_functional=_functional(record, elements),
        e_above_hull_ev_per_atom=_number(record, "e_above_hull"),
        formation_energy_ev_per_atom=_number(record, "formation_energy_per_atom"),
        density_g_cm3=cell.density_g_cm3 if cell else None,
        volume_a3=_number(record, "volume", least=0) or (cell.volume_a3 if cell else None),
        structure_json=cell.json if cell else "",
        **origin,
    )


def _is_summary(record: Mapping[str, Any]) -> bool:
    # OPTIMADE documents may carry the same two names, but keep their structure in other fields.
    named = {"material_id", "task_id"} & record.keys() and {"formula_pretty", "pretty_formula"} & record.keys()
    return bool(named) and "cartesian_site_positions" not in record


FORMATS: tuple[Format, ...] = (  # the first that recognises a record makes the Material
    Format(
        "band-gap row", lambda record: {"material_id", "species", "frac_coords", "lattice"} <= record.keys(), _gap_row
    ),
    Format("computed entry", lambda record: {"entry_id", "composition"} <= record.keys(), _computed_entry),
    Format("Materials Project summary", _is_summary, _summary),
    Format("elastic record", lambda record: {"structure", "K_VRH"} <= record.keys(), _elastic),
)


# --- fields ---------------------------------------------------------------------------------------


def _show(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "…"


def _get(record: Mapping[str, Any], *paths: str) -> tuple[str, Any]:
    """Return the first path ("symmetry.number") that holds something and its value; else the first path and None."""
    for path in paths:
        value: Any = record
        for key in path.split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
        if value is not None:
            return path, value
    return paths[0], None


def _number(record: Mapping[str, Any], *paths: str, least: float = -math.inf) -> float | None:
    path, value = _get(record, *paths)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _FieldError(path, f"is {_show(value)}, not a number")
    if value < least:
        raise _FieldError(path, f"is {value}, below {least:g}")
    return float(value)


def _spacegroup(record: Mapping[str, Any], *paths: str) -> int | None:
    path, value = _get(record, *paths)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 230:
        raise _FieldError(path, f"is {_show(value)}, not a space group number from 1 to 230")
    return value


def _truth(record: Mapping[str, Any], path: str) -> bool | None:
    value = record.get(path)
    if value is not None and not isinstance(value, bool):
        raise _FieldError(path, f"is {_show(value)}, neither true nor false")
    return value


def _word(record: Mapping[str, Any], *paths: str) -> str:
    path, value = _get(record, *paths)
    if value is None:
        if path in {"material_id", "entry_id"}:
            raise _FieldError(path, "is missing")
        return ""
    if not isinstance(value, str) or not value.strip():
        raise _FieldError(path, f"is {_show(value)}, not a word")
    return value.strip()


def _words(record: Mapping[str, Any], path: str) -> tuple[str, ...]:
    value = record.get(path) or []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _FieldError(path, f"is {_show(value)}, not a list of words")
    return tuple(value)


def _origin(record: Mapping[str, Any], material_id: str) -> dict[str, Any]:
    ours = material_id.startswith(("mp-", "mvc-"))
    _, updated = _get(record, "as_of", "last_updated.$date", "last_updated")
    return {
        "source": _word(record, "source") or (MATERIALS_PROJECT if ours else ""),
        "source_doi": _word(record, "source_doi") or (MATERIALS_PROJECT_DOI if ours else ""),
        "as_of": updated[:10] if isinstance(updated, str) else "",
    }


def _elements(record: Mapping[str, Any], formula: str, cell: _Cell | None) -> tuple[str, ...]:
    given = _words(record, "elements")
    for element in given:
        _known(element, "elements")
    field = "formula_pretty" if "formula_pretty" in record else "formula"
    found = tuple(sorted(composition(formula, field=field)))
    if given and tuple(sorted(given)) != found:
        raise _FieldError("elements", f"is {list(given)}, but the formula {formula} holds {list(found)}")
    return _agreeing(found, cell)


def _agreeing(elements: tuple[str, ...], cell: _Cell | None) -> tuple[str, ...]:
    if cell and cell.elements != elements:
        raise _FieldError("structure", f"holds {list(cell.elements)}, but the formula {list(elements)}")
    return elements


def _sites(record: Mapping[str, Any], cell: _Cell | None) -> int | None:
    value = _number(record, "nsites", least=1)
    if value is not None and cell and round(value) != cell.nsites:
        raise _FieldError("nsites", f"is {value:g}, but the structure has {cell.nsites} sites")
    return round(value) if value is not None else (cell.nsites if cell else None)


def _amounts(record: Mapping[str, Any], field: str) -> dict[str, float]:
    value = record.get(field)
    if not isinstance(value, dict) or not value:
        raise _FieldError(field, f"is {_show(value)}, not amounts by element")
    for element, amount in value.items():
        _known(element, field)
        if isinstance(amount, bool) or not isinstance(amount, int | float) or not 0 < amount < math.inf:
            raise _FieldError(field, f"has {_show(amount)} of {element}")
    return {element: float(amount) for element, amount in value.items()}


RUN_TYPES = {"GGA": "PBE", "GGA+U": "PBE+U", "GGA_U": "PBE+U", "R2SCAN": "r2SCAN", "r2SCAN": "r2SCAN", "HSE": "HSE06"}
# The Materials Project adds a Hubbard U for these metals in oxides and fluorides:
# Jain et al., Phys. Rev. B 84, 045115 (2011), 10.1103/PhysRevB.84.045115.
_HUBBARD_METALS = frozenset({"Co", "Cr", "Fe", "Mn", "Mo", "Ni", "V", "W"})


def _functional(record: Mapping[str, Any], elements: Sequence[str]) -> str:
    """Return the functional of the gap: as the record says, else by the Materials Project's rule for PBE and PBE+U."""
    named = _word(record, "band_gap_functional", "functional") or RUN_TYPES.get(_word(record, "run_type"), "")
    if named or record.get("band_gap") is None:
        return named
    if not _word(record, "material_id", "task_id").startswith(("mp-", "mvc-")):
        return ""
    return "PBE+U" if _HUBBARD_METALS & set(elements) and {"O", "F"} & set(elements) else "PBE"


_LAST_OF_SYSTEM = (
    (2, "triclinic"), (15, "monoclinic"), (74, "orthorhombic"), (142, "tetragonal"),
    (167, "trigonal"), (194, "hexagonal"), (230, "cubic"),
)  # fmt: skip


def crystal_system(spacegroup_number: int | None) -> str:
    """Return the crystal system of a space group number (International Tables, volume A), "" for None."""
    if spacegroup_number is None:
        return ""
    return next(name for last, name in _LAST_OF_SYSTEM if spacegroup_number <= last)


# --- structures -----------------------------------------------------------------------------------


class _Cell(NamedTuple):
    json: str
    elements: tuple[str, ...]
    formula: str
    nsites: int
    volume_a3: float
    density_g_cm3: float


_DALTON_PER_A3_IN_G_CM3 = 1.66053906660  # the atomic mass constant of CODATA 2018, in 10⁻²⁴ g


def _cell(value: object) -> _Cell | None:
    """Check a structure in pymatgen's dictionary form and return what can be read off it."""
    if value is None:
        return None
    if not isinstance(value, dict):
        raise _FieldError("structure", f"is {_show(value)}, not an object")
    volume = _volume(_get(value, "lattice.matrix")[1])
    sites = value.get("sites")
    if not isinstance(sites, list) or not sites:
        raise _FieldError("structure.sites", "is missing or empty")
    amounts: dict[str, float] = {}
    for number, site in enumerate(sites, start=1):
        for element, share in _occupants(site, f"structure.sites[{number}]"):
            amounts[element] = amounts.get(element, 0.0) + share
    mass = sum(amount * WEIGHTS_U[element] for element, amount in amounts.items())
    return _Cell(
        json=json.dumps(value, separators=(",", ":"), sort_keys=True),
        elements=tuple(sorted(amounts)),
        formula=reduced_formula(amounts),
        nsites=len(sites),
        volume_a3=volume,
        density_g_cm3=mass / volume * _DALTON_PER_A3_IN_G_CM3,
    )


def _occupants(site: object, field: str) -> Iterator[tuple[str, float]]:
    species = site.get("species") if isinstance(site, dict) else None
    position = site.get("abc") if isinstance(site, dict) else None
    if not isinstance(species, list) or not species:
        raise _FieldError(field, "has no species")
    if not _is_vector(position):
        raise _FieldError(field, f"has the fractional coordinates {_show(position)}, not three numbers")
    for occupant in species:
        element = _known(occupant.get("element") if isinstance(occupant, dict) else occupant, field)
        share = occupant.get("occu", 1)
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1.001:
            raise _FieldError(field, f"has an occupancy of {_show(share)}")
        yield element, float(share)


def _is_vector(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 3
        and all(isinstance(x, int | float) and not isinstance(x, bool) and math.isfinite(x) for x in value)
    )


def _volume(matrix: Any) -> float:
    if not isinstance(matrix, list) or len(matrix) != 3 or not all(map(_is_vector, matrix)):
        raise _FieldError("structure.lattice", f"has the matrix {_show(matrix)}, not three vectors")
    (ax, ay, az), (bx, by, bz), (cx, cy, cz) = matrix
    volume = abs(ax * (by * cz - bz * cy) - ay * (bx * cz - bz * cx) + az * (bx * cy - by * cx))
    if volume < 1e-3:
        raise _FieldError("structure.lattice", f"encloses {volume:g} Å³: its vectors lie in one plane")
    return float(volume)


def _structure_of_row(record: Mapping[str, Any]) -> dict[str, Any]:
    lattice, species, places = record["lattice"], record["species"], record["frac_coords"]
    if not isinstance(lattice, list) or not (_is_vector(lattice[:3]) and _is_vector(lattice[3:])):
        raise _FieldError("lattice", f"is {_show(lattice)}, not a, b, c, α, β, γ")
    if not isinstance(species, list) or not isinstance(places, list) or len(species) != len(places):
        raise _FieldError("frac_coords", "and species differ in length")
    sites = [
        {"species": [{"element": element, "occu": 1}], "abc": place, "label": element, "properties": {}}
        for element, place in zip(species, places, strict=True)
    ]
    names = ("a", "b", "c", "alpha", "beta", "gamma")
    return {
        "@module": "pymatgen.core.structure",
        "@class": "Structure",
        "charge": 0,
        "lattice": {"matrix": lattice_matrix(*lattice), "pbc": [True] * 3, **dict(zip(names, lattice, strict=True))},
        "properties": {},
        "sites": sites,
    }


def lattice_matrix(a: float, b: float, c: float, alpha: float, beta: float, gamma: float) -> list[list[float]]:
    """Return the lattice vectors (rows, Å) of lengths in Å and angles in degrees, oriented as pymatgen does.

    c lies along z and a in the xz plane; b follows from the reciprocal angle γ* (International Tables B, 1.1).
    """
    cos_a, cos_b, cos_g = (math.cos(math.radians(angle)) for angle in (alpha, beta, gamma))
    sin_a, sin_b = math.sin(math.radians(alpha)), math.sin(math.radians(beta))
    cos_g_star = max(-1.0, min(1.0, (cos_a * cos_b - cos_g) / (sin_a * sin_b))) if sin_a and sin_b else 1.0
    sin_g_star = math.sqrt(1.0 - cos_g_star**2)
    return [
        [a * sin_b, 0.0, a * cos_b],
        [-b * sin_a * cos_g_star, b * sin_a * sin_g_star, b * cos_a],
        [0.0, 0.0, c],
    ]


# --- formulas of records --------------------------------------------------------------------------


def _known(element: object, field: str) -> str:
    if not isinstance(element, str) or element not in NUMBERS:
        raise _FieldError(field, f"names {_show(element)}, which is no element")
    return element


_FORMULA_PART = re.compile(r"([A-Z][a-z]?)(\d*\.?\d*)|([(\[])|[)\]](\d*\.?\d*)")


def composition(formula: str, *, field: str = "formula_pretty") -> dict[str, float]:
    """Return the amounts by element of a formula such as "Na3Bi(P2O7)2", in the order they are written.

    This is for the clean formulas of records; formulas in running text are found by `ingest.formulas`.
    """
    text = unicodedata.normalize("NFKC", formula).replace(" ", "")
    levels: list[dict[str, float]] = [{}]
    at = 0
    while at < len(text):
        match = _FORMULA_PART.match(text, at)
        if match is None or (match[0][0] in ")]" and len(levels) == 1):
            raise _FieldError(field, f"is {_show(formula)}, not a formula")
        if match[3]:
            levels.append({})
        else:
            times = float(match[2] or match[4] or 1)
            group = {_known(match[1], field): 1.0} if match[1] else levels.pop()
            for element, amount in group.items():
                levels[-1][element] = levels[-1].get(element, 0.0) + times * amount
        at = match.end()
    if len(levels) > 1 or not levels[0] or not all(levels[0].values()):
        raise _FieldError(field, f"is {_show(formula)}, not a formula")
    return levels[0]


def reduced_formula(amounts: Mapping[str, float]) -> str:
    """Return the reduced formula with the elements in the order of electronegativity: LiFePO4, TiO2."""
    reduced = _reduced(amounts)
    order = sorted(reduced, key=lambda element: (electronegativity(element) or math.inf, element))
    return "".join(element + ("" if reduced[element] == 1 else f"{reduced[element]:g}") for element in order)


def formula_key(formula: str) -> str:
    """Return one key for all ways of writing a formula, "Fe1 Li1 O4 P1". Raises BadInput when it is not a formula."""
    try:
        reduced = _reduced(composition(formula))
    except _FieldError as error:
        raise BadInput(f"the formula {error}", hint="Write it like LiFePO4 or Na3Bi(P2O7)2") from error
    return " ".join(f"{element}{reduced[element]:g}" for element in sorted(reduced))


def _reduced(amounts: Mapping[str, float]) -> dict[str, float]:
    if all(abs(amount - round(amount)) < 1e-6 and round(amount) > 0 for amount in amounts.values()):
        divisor = math.gcd(*(round(amount) for amount in amounts.values()))
        return {element: round(amount) / divisor for element, amount in amounts.items()}
    return {element: round(amount, 4) for element, amount in amounts.items()}


# --- text -----------------------------------------------------------------------------------------


def to_text(material: Material) -> str:
    """Return the record as sentences that each name the material, the unit and where the number comes from."""
    formula, who = material.formula_pretty, _who(material)
    sentences = [
        _opening(material),
        _gap_sentence(material),
        _stability_sentence(material),
        _cell_sentence(material),
        _value(material.k_vrh_gpa, f"The bulk modulus (Voigt-Reuss-Hill) of {who} is {{:.0f}} GPa."),
        _value(material.g_vrh_gpa, f"The shear modulus (Voigt-Reuss-Hill) of {who} is {{:.0f}} GPa."),
        _value(material.magnetisation_ub, f"The total magnetisation of {formula} is {{:.2f}} Bohr magnetons per cell."),
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _who(material: Material) -> str:
    names = f" ({material.names[0]})" if material.names else ""
    return f"{material.formula_pretty}{names}"


def _opening(material: Material) -> str:
    others = f", also called {', '.join(material.names)}," if material.names else ""
    symbol = material.spacegroup_symbol
    group = (
        f" with space group {symbol} (No. {material.spacegroup_number})"
        if symbol and material.spacegroup_number
        else ""
    )
    system = f"{material.crystal_system} " if material.crystal_system else ""
    kind = f"{system}crystal{group}" if system or group else "computed material"
    article = "an" if kind.startswith("orthorhombic") else "a"
    return f"{material.formula_pretty} ({material.material_id}){others} is {article} {kind}."


def _gap_sentence(material: Material) -> str:
    gap = material.band_gap_ev
    if gap is None:
        return ""
    source = ", ".join(part for part in (material.source, material.as_of) if part)
    told = f" ({source})" if source else ""
    functional = f"{material.band_gap_functional} " if material.band_gap_functional else "computed "
    marks = (*material.names[:1], material.material_id, material.spacegroup_symbol)
    name = f"{material.formula_pretty} ({', '.join(mark for mark in marks if mark)})"
    if gap == 0:
        return f"The {functional}band gap of {name} is 0 eV{told}: a metal or semimetal in this approximation."
    kind = {True: ", direct", False: ", indirect", None: ""}[material.is_gap_direct]
    return f"The {functional}band gap of {name} is {gap:.2f} eV{kind}{told}."


def _stability_sentence(material: Material) -> str:
    parts = [
        _value(material.formation_energy_ev_per_atom, "formation energy is {:.3f} eV/atom"),
        _value(material.e_above_hull_ev_per_atom, "energy above the convex hull is {:.3f} eV/atom"),
    ]
    told = " and its ".join(part for part in parts if part)
    return f"The {told.replace(' is', f' of {_who(material)} is', 1)}." if told else ""


def _cell_sentence(material: Material) -> str:
    if material.density_g_cm3 is None:
        return ""
    cell = ""
    if material.volume_a3 is not None and material.nsites is not None:
        cell = f", with {material.nsites} atoms in a cell of {material.volume_a3:.1f} Å³"
    return f"The computed density of {_who(material)} is {material.density_g_cm3:.2f} g/cm³{cell}."


def _value(value: float | None, template: str) -> str:
    return "" if value is None else template.format(value + 0.0)


def to_chunk(material: Material, recipe: str) -> Chunk:
    """Return the one chunk of kind "material" that makes the record searchable beside the papers."""
    text = to_text(material)
    return Chunk(
        id=chunk_id(material.material_id, recipe, 0),
        source=material.material_id,
        ordinal=0,
        text=text,
        page=0,
        start=0,
        end=len(text),
        kind="material",
    )


# --- tables in the catalogue ----------------------------------------------------------------------

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
CREATE INDEX IF NOT EXISTS materials_by_chemsys ON materials (elements);
CREATE INDEX IF NOT EXISTS materials_by_gap ON materials (band_gap_ev);
CREATE TABLE IF NOT EXISTS material_elements (
    element TEXT NOT NULL,
    material_id TEXT NOT NULL REFERENCES materials ON DELETE CASCADE,
    PRIMARY KEY (element, material_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS material_elements_by_material ON material_elements (material_id);
"""

_FIELDS = tuple(field.name for field in fields(Material))
COLUMNS = (*("material_id", "formula_pretty", "elements", "names"), *_FIELDS[4:], "formula_key", "nelements")
INSERT_MATERIAL = f"INSERT OR REPLACE INTO materials ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608  # constants
INSERT_ELEMENT = "INSERT OR IGNORE INTO material_elements (element, material_id) VALUES (?, ?)"
SELECT_MATERIAL = f"SELECT {', '.join(COLUMNS)} FROM materials"  # noqa: S608  # constants


def row(material: Material) -> tuple[object, ...]:
    """Return the values of `COLUMNS`, for `INSERT_MATERIAL`."""
    values: dict[str, object] = asdict(material) | {
        "elements": material.chemsys,
        "names": json.dumps(material.names, ensure_ascii=False),
        "structure_json": zlib.compress(material.structure_json.encode(), 6),
        "formula_key": material.formula_key,
        "nelements": material.nelements,
    }
    return tuple(values[column] for column in COLUMNS)


def element_rows(material: Material) -> list[tuple[str, str]]:
    """Return the rows of the element link table, for `INSERT_ELEMENT`."""
    return [(element, material.material_id) for element in material.elements]


def from_row(values: Sequence[Any]) -> Material:
    """Return the material of a row selected with `SELECT_MATERIAL`."""
    named = dict(zip(COLUMNS, values, strict=True))
    direct = named["is_gap_direct"]
    named |= {
        "elements": tuple(named["elements"].split("-")),
        "names": tuple(json.loads(named["names"])),
        "is_gap_direct": None if direct is None else bool(direct),
        "structure_json": zlib.decompress(named["structure_json"]).decode(),
    }
    return Material(**{name: named[name] for name in _FIELDS})


Range = tuple[float | None, float | None]


def find(
    connection: sqlite3.Connection,
    *,
    material_ids: Sequence[str] = (),
    elements: Sequence[str] | frozenset[str] = (),
    chemsys: str = "",
    formula: str = "",
    nelements: Range | None = None,
    nsites: Range | None = None,
    band_gap_ev: Range | None = None,
    e_above_hull_ev_per_atom: Range | None = None,
    spacegroup: int | str | None = None,
    limit: int | None = None,
) -> list[Material]:
    """Return the materials for which all that is given holds, the most stable first, then by id.

    `elements` must all occur; `chemsys` ("Li-Fe-P-O", any order) is exactly the set of them; `formula` in any spelling;
    ranges are inclusive with None for an open end, and leave out records where the value is not known; `spacegroup` is
    a number or a symbol. Raises BadInput when the formula is none.
    """
    clauses: list[tuple[str, Sequence[object]]] = []
    if material_ids:
        clauses.append((f"material_id IN ({', '.join('?' * len(material_ids))})", tuple(material_ids)))
    for element in sorted(elements):
        linked = "material_id IN (SELECT material_id FROM material_elements WHERE element = ?)"
        clauses.append((linked, (element,)))
    if chemsys:
        clauses.append(("elements = ?", ("-".join(sorted(part.strip() for part in chemsys.split("-"))),)))
    if formula:
        clauses.append(("formula_key = ?", (formula_key(formula),)))
    if spacegroup is not None:
        column = "spacegroup_number" if isinstance(spacegroup, int) else "spacegroup_symbol"
        clauses.append((f"{column} = ?", (spacegroup,)))
    ranges = {
        "nelements": nelements,
        "nsites": nsites,
        "band_gap_ev": band_gap_ev,
        "e_above_hull_ev_per_atom": e_above_hull_ev_per_atom,
    }
    for column, bounds in ranges.items():
        clauses.extend(_within(column, bounds))
    where = " AND ".join(clause for clause, _ in clauses) or "TRUE"
    order = "ORDER BY e_above_hull_ev_per_atom IS NULL, e_above_hull_ev_per_atom, material_id"
    values = [value for _, given in clauses for value in given]
    rows = connection.execute(
        f"{SELECT_MATERIAL} WHERE {where} {order} LIMIT ?", (*values, -1 if limit is None else limit)
    )
    return [from_row(tuple(found)) for found in rows]


def _within(column: str, bounds: Range | None) -> Iterator[tuple[str, Sequence[object]]]:
    for sign, bound in zip((">=", "<="), bounds or (), strict=False):
        if bound is not None:
            yield f"{column} {sign} ?", (bound,)
