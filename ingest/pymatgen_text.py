"""Structures as pymatgen holds them, out of texts: CIF, POSCAR and pymatgen's JSON, disordered ones too.

Where pymatgen finds none, matlit's own readers (`ingest.structure_files`) try, and say what is wrong.
"""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ingest.elements import LAST, NUMBERS
from ingest.errors import BadInput
from ingest.materials.files import Broken, json_values
from ingest.materials.problems import FieldError
from ingest.structure_files import guess_kind, has_no_symbols, parse_text

if TYPE_CHECKING:
    from pymatgen.core import Structure

THINNEST_A = 0.1  # a flatter cell repeats itself so densely that a search for neighbours would not end


@dataclass(frozen=True, slots=True)
class Parsed:
    """A structure that pymatgen holds, and what had to be assumed to read it.

    `lacks_hydrogen` says that the file speaks of hydrogens that stand on no site: formula and density are without them.
    """

    structure: Structure
    notes: tuple[str, ...] = ()
    lacks_hydrogen: bool = False


def parse_structures(text: str, *, name: str = "") -> list[Parsed]:
    """Return every structure of a text, at least one; `name` is for messages.

    Raises:
        BadInput: with the reason why there is none.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = _PARSERS[guess_kind(text, name=name)](text, name) or [_from_own_reader(text, name)]
    for parsed in found:
        if len(parsed.structure) == 0:
            raise BadInput(f"{name!r} holds no atoms")
        if _thickness_a(parsed.structure) < THINNEST_A:
            raise BadInput(f"the cell of {name!r} is flat: it has no volume", hint="Check the lengths of the cell")
    return found


def _thickness_a(structure: Structure) -> float:
    """Return the smallest distance between opposite faces of the cell."""
    import numpy as np

    matrix = structure.lattice.matrix
    areas = [float(np.linalg.norm(np.cross(matrix[i], matrix[(i + 1) % 3]))) for i in range(3)]
    return min((float(structure.volume) / area if area > 0 else 0.0) for area in areas)


# What pymatgen raises about a file that it cannot make sense of.
_REFUSALS = (
    ArithmeticError,
    ValueError,
    KeyError,
    TypeError,
    IndexError,
    AttributeError,
    NotImplementedError,
    AssertionError,
)


def _from_cif(text: str, name: str) -> list[Parsed]:
    from pymatgen.io.cif import CifParser

    try:
        parser = CifParser.from_str(text)
        structures = parser.parse_structures(primitive=False, on_error="ignore")
    except _REFUSALS:
        return []
    told = [" ".join(note.split())[:160] for note in parser.warnings]
    blocks = [block.data for block in parser._cif.data.values()]
    kinds = [str(kind) for block in blocks for kind in block.get("_atom_site_type_symbol", ())]
    groups = [kind for kind in kinds if _is_group(kind)]
    groups += [group for note in told if (group := _group_of_atoms(note))]
    if structures and groups:
        raise BadInput(
            f"{name!r} has groups of atoms on its sites: {', '.join(dict.fromkeys(groups))}",
            hint="Give a file in which every atom has its own site",
        )
    notes = tuple(dict.fromkeys(note for note in map(_in_plain_words, told) if note))
    lacking = any(_LACKING in note for note in notes)
    return [Parsed(structure, notes, lacking) for structure in structures]


_READ_AS = re.compile(r"(\S+) parsed as ?(\S*)")
_LACKING = "hydrogens stand on no site"
_ALWAYS = ("not found", "No structure parsed for section", "Skipping relative stoichiometry", "Pauling file")


def _group_of_atoms(note: str) -> str:
    """Return a site's symbol where pymatgen took a group of atoms for one: nihonium for NH3, nothing at all for OH."""
    found = _READ_AS.fullmatch(note)
    if found is None or found[1].lower().startswith(("wat", "ow", "hw")):
        return ""
    is_group = NUMBERS.get(found[2], LAST + 1) > LAST or found[1].startswith("NO3")
    return found[1] if is_group else ""


def _is_group(kind: str) -> bool:
    """Say whether a site's type is several atoms: SO4, OH2, NH3. "FE3+" is iron in capitals, and "CO" may be cobalt."""
    letters = re.match(r"[A-Za-z]*", kind)[0]  # type: ignore[index]  # it matches the empty string
    parts = re.findall(r"([A-Z][a-z]?)(\d*)", kind)
    if len(parts) < 2 or not all(symbol in NUMBERS for symbol, _ in parts):
        return False
    one_element = NUMBERS.get(letters.title(), LAST + 1) <= LAST
    return not (one_element and (kind == letters or kind.endswith(("+", "-"))))


def _in_plain_words(note: str) -> str:
    """Return what pymatgen noticed in a CIF as a reader needs it, "" where it is of no consequence."""
    if any(sign in note for sign in _ALWAYS):
        return ""
    if "implicit hydrogens" in note or re.match(r"(?i)wat\S* parsed", note):
        return f"{_LACKING} of this file, so formula, molar mass and density are without them"
    if found := _READ_AS.fullmatch(note):
        return f"the site symbol {found[1]!r} is read as {found[2]}"
    if "rounded to ideal values" in note:
        return note.split(" to avoid")[0]
    if "symmetry_equiv_pos" in note:
        return "no symmetry operations are listed; those of the named space group are taken"
    return note


def _from_poscar(text: str, name: str) -> list[Parsed]:
    from pymatgen.io.vasp.inputs import BadPoscarWarning, Poscar

    try:
        # pymatgen makes hydrogen, helium, … of elements that are not named
        warnings.filterwarnings("error", message="Elements in POSCAR cannot be determined")
        return [Parsed(Poscar.from_str(text).structure)]
    except (BadPoscarWarning, *_REFUSALS):
        return []


def _from_json(text: str, name: str) -> list[Parsed]:
    """Return the first structure of JSON or JSON Lines: of pymatgen's form, or of any record of `ingest.materials`."""
    items = list(json_values(io.StringIO(text)))
    problems = []
    for item in items:
        try:
            structure = _from_item(item)
        except FieldError as error:
            problems.append(f"{error.field} {error}".strip())
        except _REFUSALS:
            return []  # the own reader says what is wrong
        else:
            more = (f"the file holds {len(items)} records; this is the first with a structure",) if items[1:] else ()
            return [Parsed(structure, more)]
    if problems and not any(isinstance(item, Broken) for item in items):
        raise BadInput(f"{name!r} holds no crystal structure: {problems[0]}")
    return []


def _from_item(item: Any) -> Structure:
    from pymatgen.core import Structure

    from ingest.materials.formats import convert

    document = item.get("structure") or item if isinstance(item, dict) else {}
    if "sites" not in document or "lattice" not in document:
        document = convert(item).structure
    if document is None:
        raise FieldError("", "the record has no structure")
    return Structure.from_dict(document)


def _from_own_reader(text: str, name: str) -> Parsed:
    from pymatgen.core import Lattice, Structure

    from ingest.elements import SYMBOLS

    found = [each for _, each in parse_text(text, name=name)]
    crystal = next((each for each in found if not isinstance(each, BadInput)), None)
    if crystal is None:
        raise next((each for each in found if isinstance(each, BadInput)), BadInput(f"{name!r} is empty"))
    symbols = [SYMBOLS[number] for number in crystal.numbers.tolist()]
    older = guess_kind(text, name=name) == "poscar" and has_no_symbols(text)
    notes = ("the elements are those of the first line, as VASP 4 wrote them",) if older else ()
    return Parsed(Structure(Lattice(crystal.lattice), symbols, crystal.frac), notes)


_PARSERS = {"cif": _from_cif, "poscar": _from_poscar, "json": _from_json}
