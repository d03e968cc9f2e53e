"""Records of computed materials: reading them from files, saying them as text, and their tables in the catalogue.

Units stand in the names: energies in eV or eV per atom, lengths in ångström, densities in g/cm³, moduli in GPa,
magnetisation in Bohr magnetons per cell. Structures travel as JSON in pymatgen's dictionary form; pymatgen itself is
not needed here.
"""

from ingest.materials.cells import lattice_matrix
from ingest.materials.conditions import parse_condition
from ingest.materials.fields import asked_id
from ingest.materials.files import SUFFIXES, parse_records
from ingest.materials.formats import FORMATS, convert
from ingest.materials.formula import composition, formula_key, reduced_formula
from ingest.materials.problems import BadRecord, FieldError
from ingest.materials.record import (
    CRYSTAL_SYSTEMS,
    MATERIALS_PROJECT,
    MATERIALS_PROJECT_DOI,
    QUANTITIES,
    Material,
    Quantity,
    crystal_system,
    merged,
)
from ingest.materials.spacegroups import find_spacegroup
from ingest.materials.store import (
    DEFAULT_SORT,
    INSERT_MATERIAL,
    MATERIALS_SCHEMA,
    SORTS,
    MaterialFilter,
    Polymorphs,
    count,
    delete,
    find,
    how_to_get,
    ids_of_source,
    insert,
    polymorphs,
    row,
    search,
    sources,
)
from ingest.materials.text import to_chunk, to_text

__all__ = [
    "CRYSTAL_SYSTEMS",
    "DEFAULT_SORT",
    "FORMATS",
    "INSERT_MATERIAL",
    "MATERIALS_PROJECT",
    "MATERIALS_PROJECT_DOI",
    "MATERIALS_SCHEMA",
    "QUANTITIES",
    "SORTS",
    "SUFFIXES",
    "BadRecord",
    "FieldError",
    "Material",
    "MaterialFilter",
    "Polymorphs",
    "Quantity",
    "asked_id",
    "composition",
    "convert",
    "count",
    "crystal_system",
    "delete",
    "find",
    "find_spacegroup",
    "formula_key",
    "how_to_get",
    "ids_of_source",
    "insert",
    "lattice_matrix",
    "merged",
    "parse_condition",
    "parse_records",
    "polymorphs",
    "reduced_formula",
    "row",
    "search",
    "sources",
    "to_chunk",
    "to_text",
]
