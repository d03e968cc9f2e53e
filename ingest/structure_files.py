"""Crystals out of files and objects: CIF, POSCAR, pymatgen JSON, band gap records; an answer or a clear reason each.

CIF is read with gemmi, which is some fifty times faster than pymatgen; POSCAR and JSON are read here.
"""

from __future__ import annotations

import gzip
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ingest.crystals import Crystal, from_record, lattice_from_parameters, make_crystal
from ingest.elements import NUMBERS
from ingest.errors import BadInput

SUFFIXES = (".cif", ".json", ".jsonl", ".json.gz", ".jsonl.gz", ".vasp", ".poscar", ".contcar")
PARTIAL = 0.99  # a site occupied less than this is disordered


def read_structures(path: Path) -> Iterator[tuple[str, Crystal | BadInput]]:
    """Yield (name, crystal or the reason why there is none) for every structure in a file, or in a folder's files.

    Raises:
        BadInput: the path does not exist, or its kind is unknown.
    """
    if path.is_dir():
        for child in sorted(child for child in path.rglob("*") if child.is_file() and _kind(child)):
            yield from read_structures(child)
        return
    kind = _kind(path)
    if not path.is_file():
        raise BadInput(f"there is no file {str(path)!r}", hint="Check the path")
    if not kind:
        raise BadInput(
            f"{str(path)!r} is of no known kind",
            hint="Give CIF (.cif), POSCAR (POSCAR, .vasp), pymatgen JSON (.json) or records (.jsonl, .jsonl.gz)",
        )
    try:
        if kind == "jsonl":
            yield from _read_lines(path)
            return
        yield from parse_text(_open_text(path), kind=kind, name=str(path))
    except (OSError, UnicodeDecodeError, EOFError) as error:
        yield str(path), BadInput(f"{str(path)!r} cannot be read: {error}")


def parse_text(text: str, *, kind: str = "", name: str = "") -> Iterator[tuple[str, Crystal | BadInput]]:
    """Yield the structures of a text; `kind` is "cif", "poscar" or "json", guessed where it is empty."""
    kind = kind or guess_kind(text, name=name)
    try:
        if kind == "cif":
            yield from _parse_cif(text, name)
        elif kind == "poscar":
            yield name, parse_poscar(text, name=name)
        else:
            yield from _parse_json(text, name)
    except BadInput as error:
        yield name, error


def guess_kind(text: str, *, name: str = "") -> str:
    """Return "json", "cif" or "poscar" by what the text looks like, by its file's name where it looks like nothing."""
    head = text.lstrip()
    if head.startswith(("{", "[")):
        return "json"
    if "_cell_length_a" in text or "data_" in head[:2000] or "_atom_site" in text:
        return "cif"
    return "cif" if _kind(Path(name)) == "cif" else "poscar"


def to_crystal(source: Any, *, name: str = "") -> Crystal:
    """Return the crystal of anything that holds one.

    Takes a `Crystal`, a path, CIF, POSCAR or JSON text, a mapping (pymatgen's dictionary form or a band gap record), a
    `Material` with a structure, or a pymatgen `Structure`.

    Raises:
        BadInput: it holds none, or one that cannot be used (disordered, unknown element, malformed).
    """
    if isinstance(source, Crystal):
        return source
    if isinstance(source, Mapping):
        return from_mapping(source, name=name)
    if isinstance(source, Path) or (isinstance(source, str) and "\n" not in source.strip() and source[:1] not in "{["):
        return _first(read_structures(Path(source)), str(source))
    if isinstance(source, str):
        if not source.strip():
            raise BadInput("the text is empty")
        return _first(parse_text(source, name=name), name or "the text")
    if isinstance(getattr(source, "structure_json", None), str):
        if not source.structure_json:
            raise BadInput(f"the record {source.material_id!r} holds no structure")
        return from_mapping(json.loads(source.structure_json), name=name or source.material_id)
    if callable(getattr(source, "as_dict", None)):
        return from_mapping(source.as_dict(), name=name)
    raise BadInput(f"a {type(source).__name__} is no structure")


def _first(found: Iterator[tuple[str, Crystal | BadInput]], what: str) -> Crystal:
    problem: BadInput | None = None
    for _, crystal in found:
        if isinstance(crystal, Crystal):
            return crystal
        problem = problem or crystal
    raise problem or BadInput(f"{what!r} holds no structure")


def from_mapping(mapping: Mapping[str, Any], *, name: str = "") -> Crystal:
    """Return the crystal of pymatgen's dictionary form, of a document with a `structure`, or of a band gap record."""
    if isinstance(mapping.get("structure"), Mapping):
        return from_mapping(mapping["structure"], name=name or str(mapping.get("material_id", "")))
    try:
        if "sites" in mapping and isinstance(mapping.get("lattice"), Mapping):
            return _from_pymatgen(mapping, name)
        if "frac_coords" in mapping:
            return from_record(mapping)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise BadInput(f"{name or 'the record'!r} is malformed: {type(error).__name__}: {error}") from error
    raise BadInput(f"{name or 'the record'!r} holds no structure: neither 'sites' with a 'lattice' nor 'frac_coords'")


def _from_pymatgen(mapping: Mapping[str, Any], name: str) -> Crystal:
    lattice = mapping["lattice"]
    if "matrix" in lattice:
        matrix = np.asarray(lattice["matrix"], dtype=float)
    else:
        matrix = lattice_from_parameters(*(lattice[key] for key in ("a", "b", "c", "alpha", "beta", "gamma")))
    symbols, places = [], []
    for site in mapping["sites"]:
        kinds = site["species"]
        if len(kinds) != 1 or abs(float(kinds[0].get("occu", 1)) - 1) > 1 - PARTIAL:
            raise _disordered(name, " + ".join(f"{kind['occu']:g} {kind['element']}" for kind in kinds))
        symbols.append(str(kinds[0]["element"]))
        places.append(site["abc"])
    crystal = make_crystal(matrix, symbols, places, name=name)
    moments = [site.get("properties", {}).get("magmom") for site in mapping["sites"]]
    if not all(isinstance(moment, int | float) for moment in moments):
        return crystal
    return replace(crystal, properties={"magmom": moments})


def _disordered(name: str, what: str) -> BadInput:
    return BadInput(
        f"{name or 'the structure'!r} is disordered: a site holds {what}",
        hint="Choose an ordered arrangement of it (for example pymatgen's OrderDisorderedStructureTransformation)",
    )


def _kind(path: Path) -> str:
    lower = path.name.lower().removesuffix(".gz")
    if lower.endswith((".jsonl", ".ndjson")):
        return "jsonl"
    for suffix, kind in ((".cif", "cif"), (".json", "json"), (".vasp", "poscar"), (".poscar", "poscar")):
        if lower.endswith(suffix):
            return kind
    return "poscar" if lower.startswith(("poscar", "contcar")) else ""


def _open_text(path: Path) -> str:
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")  # older CIF files


def _read_lines(path: Path) -> Iterator[tuple[str, Crystal | BadInput]]:
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield _one_line(line, f"{path}:{number}")


def _one_line(line: str, where: str) -> tuple[str, Crystal | BadInput]:
    try:
        record = json.loads(line)
        name = str(record.get("material_id") or record.get("id") or where) if isinstance(record, dict) else where
        return name, from_mapping(record if isinstance(record, dict) else {}, name=name)
    except json.JSONDecodeError as error:
        return where, BadInput(f"{where} is not JSON: {error}")
    except BadInput as error:
        return where, error


def _parse_json(text: str, name: str) -> Iterator[tuple[str, Crystal | BadInput]]:
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise BadInput(f"{name or 'the text'!r} is not JSON: {error}") from error
    items = content if isinstance(content, list) else [content]
    for index, item in enumerate(items):
        label = name if len(items) == 1 else f"{name}#{index + 1}"
        try:
            yield label, from_mapping(item if isinstance(item, dict) else {}, name=label)
        except BadInput as error:
            yield label, error


# --- CIF --------------------------------------------------------------------------------------------------------------


def parse_cif(text: str, *, name: str = "") -> Crystal:
    """Return the first structure of a CIF.

    Raises:
        BadInput: the text is no CIF, holds no structure, or one that is disordered or has an unknown element.
    """
    return _first(_parse_cif(text, name), name or "the CIF")


def _parse_cif(text: str, name: str) -> Iterator[tuple[str, Crystal | BadInput]]:
    import gemmi

    try:
        document = gemmi.cif.read_string(text)
    except (ValueError, RuntimeError) as error:
        name = name or "the text"
        reason = re.sub(r"^(?:string:)?(\d+):\d+\(\d+\): ", r"line \1: ", str(error))
        raise BadInput(f"{name!r} is a malformed CIF: {reason}", hint="Fetch or export the CIF again") from error
    blocks = [block for block in document if block.find_values("_atom_site_fract_x")]
    if not blocks:
        raise BadInput(
            f"{name or 'the CIF'!r} holds no crystal structure: no block has _atom_site_fract_x",
            hint="Structures of molecules or proteins and reflection lists are not read",
        )
    for block in blocks:
        label = name if len(blocks) == 1 else f"{name}#{block.name}"
        try:
            yield label, _from_block(block, label)
        except BadInput as error:
            yield label, error


def _from_block(block: Any, name: str) -> Crystal:
    import gemmi

    small = gemmi.make_small_structure_from_block(block)
    cell = small.cell
    lengths = (cell.a, cell.b, cell.c, cell.alpha, cell.beta, cell.gamma)
    if not all(map(math.isfinite, lengths)) or not block.find_value("_cell_length_a"):
        raise BadInput(f"{name!r} gives no complete unit cell")
    lattice = lattice_from_parameters(*lengths)
    for site in small.sites:
        if "+" in site.type_symbol and site.element.atomic_number == 0:
            raise _disordered(name, f"{site.type_symbol} ({site.label})")
        if not all(map(math.isfinite, site.fract.tolist())):
            raise BadInput(f"{name!r} gives no position for the site {site.label!r}")
        if site.element.atomic_number == 0:
            raise BadInput(f"{name!r} has an unknown element: {site.type_symbol or site.label!r}")
        if site.occ < PARTIAL:
            raise _disordered(name, f"{site.occ:g} {site.element.name} ({site.label})")
    _check_operations(block, small, name)
    atoms = small.get_all_unit_cell_sites()
    frac = np.array([site.fract.tolist() for site in atoms]).reshape(-1, 3)
    return make_crystal(lattice, [site.element.name for site in atoms], frac, name=name)


def _check_operations(block: Any, small: Any, name: str) -> None:
    """Refuse a CIF whose symmetry gemmi could not make out: its atoms would be incomplete."""
    if small.symops or small.spacegroup is not None:
        return
    symbol = small.spacegroup_hm or small.spacegroup_hall or small.spacegroup_number
    if symbol:
        raise BadInput(f"{name!r} names a space group that is not known: {symbol!r}, and lists no operations")


# --- POSCAR -----------------------------------------------------------------------------------------------------------


def parse_poscar(text: str, *, name: str = "") -> Crystal:
    """Return the structure of a VASP POSCAR or CONTCAR.

    The older form has no line of symbols; its elements are those that stand behind the positions or, one for each
    count, alone in the first line.

    Raises:
        BadInput: a line is missing or no number, or the elements are not named.
    """
    lines = text.splitlines()
    try:
        scale = [float(word) for word in lines[1].split()]
        lattice = np.array([[float(word) for word in line.split()[:3]] for line in lines[2:5]])
        symbols, counts, at = _poscar_counts(lines)
        selective = lines[at].strip()[:1].lower() == "s"  # selective dynamics
        at += selective
        cartesian = lines[at].strip()[:1].lower() in ("c", "k")
        rows = [line.split() for line in lines[at + 1 : at + 1 + sum(counts)]]
        places = np.array([[float(word) for word in row[:3]] for row in rows])
    except (ValueError, IndexError) as error:
        raise BadInput(f"{name or 'the text'!r} is no POSCAR: {error}", hint="See the VASP wiki on POSCAR") from error
    if lattice.shape != (3, 3) or places.shape != (sum(counts), 3):
        raise BadInput(f"{name or 'the POSCAR'!r} is cut short: {len(places)} of {sum(counts)} positions")
    factor = np.array(scale) if scale[0] > 0 else (-scale[0] / abs(np.linalg.det(lattice))) ** (1 / 3)
    lattice = lattice * factor
    if cartesian:
        places = np.linalg.solve(lattice.T, (places * factor).T).T
    behind = ["".join(row[6 if selective else 3 :][:1]) for row in rows]
    return make_crystal(lattice, _poscar_species(symbols, counts, behind, name), places, name=name)


def has_no_symbols(text: str) -> bool:
    """Say whether a POSCAR is of the older form: counts stand where the symbols would be."""
    return "".join(text.splitlines()[5:6]).replace(" ", "").isdigit()


def _poscar_counts(lines: list[str]) -> tuple[list[str], list[int], int]:
    """Return the symbols (none where the first line is a mere comment), the counts, and the line after them."""
    words = lines[5].split()
    if words and words[0].isdigit():
        named = lines[0].split()
        return named if all(word in NUMBERS for word in named) else [], [int(word) for word in words], 6
    return [word.split("_")[0].split("/")[0] for word in words], [*map(int, lines[6].split())], 7


def _poscar_species(symbols: list[str], counts: list[int], behind: list[str], name: str) -> list[str]:
    """Return one symbol for each position; `behind` are the words behind the positions."""
    if all(word in NUMBERS for word in behind):
        return behind
    if len(symbols) != len(counts):
        raise BadInput(
            f"{name or 'the POSCAR'!r} does not name its elements",
            hint="Add a line with their symbols above the line of counts, as VASP 5 writes it",
        )
    return [symbol for symbol, count in zip(symbols, counts, strict=True) for _ in range(count)]
