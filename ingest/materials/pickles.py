"""Records in Python pickles, such as the dumps of the 2024 tutorial, read by an unpickler that runs no foreign code.

A pickle can call anything it can name. Here it can name only what `ALLOWED` lists: containers, numbers, dates, numpy
arrays, pandas tables, pymatgen structures and the Materials Project's documents. It is refused unless asked for.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator, Mapping
from enum import EnumMeta
from typing import IO, Any

from ingest.errors import BadInput

SUFFIXES = (".pkl", ".pickle")

ALLOWED: dict[str, frozenset[str]] = {
    module: frozenset(names.split())
    for module, names in {
        "builtins": "set frozenset complex bytearray slice object",
        "collections": "OrderedDict",
        "copyreg": "_reconstructor",
        "_codecs": "encode",
        "datetime": "datetime date time timedelta timezone",
        "uuid": "UUID",
        "numpy": "ndarray dtype",
        "numpy.core.multiarray": "_reconstruct scalar",
        "numpy._core.multiarray": "_reconstruct scalar",
        "numpy.core.numeric": "_frombuffer",
        "numpy._core.numeric": "_frombuffer",
        "pandas.core.frame": "DataFrame",
        "pandas.core.series": "Series",
        "pandas.core.indexes.base": "Index _new_Index",
        "pandas.core.indexes.range": "RangeIndex",
        "pandas.core.internals.managers": "BlockManager SingleBlockManager",
        "pandas.core.internals.blocks": "new_block",
        "pandas._libs.internals": "_unpickle_block BlockPlacement",
        "pandas._libs.arrays": "__pyx_unpickle_NDArrayBacked",
        "pandas.core.arrays.string_": "StringArray StringDtype",
        "pandas.core.arrays.numpy_": "NumpyExtensionArray PandasArray",
        "pandas.core.arrays.datetimes": "DatetimeArray",
        "pandas.core.arrays.boolean": "BooleanArray BooleanDtype",
        "pandas.core.arrays.integer": "IntegerArray Int8Dtype Int16Dtype Int32Dtype Int64Dtype",
        "pandas.core.arrays.floating": "FloatingArray Float32Dtype Float64Dtype",
        "pandas.core.arrays.categorical": "Categorical",
        "pandas.core.dtypes.dtypes": "DatetimeTZDtype CategoricalDtype",
        "pandas._libs.tslibs.timestamps": "_unpickle_timestamp",
        "pandas._libs.tslibs.nattype": "_nat_unpickle",
        "pandas._libs.missing": "NA NAType",
        "pytz": "_UTC _p",
        "zoneinfo": "ZoneInfo ZoneInfo._unpickle",
        "pymatgen.core.structure": "Structure IStructure PeriodicNeighbor",
        "pymatgen.core.sites": "Site PeriodicSite",
        "pymatgen.core.lattice": "Lattice",
        "pymatgen.core.periodic_table": "Element Species Specie DummySpecies",
        "pymatgen.core.composition": "Composition",
        "emmet.core.base": "EmmetMeta",
        "emmet.core.mpid": "MPID AlphaID",
        "emmet.core.summary": "SummaryDoc HasProps",
        "emmet.core.symmetry": "SymmetryData CrystalSystem",
    }.items()
}


class ForeignClass(BadInput):
    """A pickle names something that may run code."""

    hint = "Do not open this file in any other way either, unless you made it yourself; export its records as JSON"


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Return what a pickle names, if it is on the list."""
        if (module, name) == ("builtins", "getattr"):
            return _enum_member  # how Python 3.11 pickles the members of an enumeration
        if name in ALLOWED.get(module, ()):
            return super().find_class(module, name)
        raise ForeignClass(f"the pickle names {module}.{name}, which records do not need")


def _enum_member(kind: Any, name: Any) -> Any:
    if isinstance(kind, EnumMeta):
        return kind[name]
    raise ForeignClass(f"the pickle asks for the attribute {name!r} of {kind!r}")


def read_pickle(file: IO[bytes], name: str) -> Iterator[Any]:
    """Yield the records of a pickle: of a list, a table, a dictionary of records, or a dictionary of columns.

    Each comes as a dictionary, or as a pymatgen structure.

    Raises:
        ForeignClass: the pickle names something that is not on the list.
        BadInput: it is damaged, or holds nothing like records.
    """
    data = io.BytesIO(file.read())
    try:
        content = _Unpickler(data).load()
    except ForeignClass:
        raise
    except ImportError as error:
        raise BadInput(f"{name!r} needs a package: {error}", hint="pip install 'matlit[materials]'") from error
    except Exception as error:  # a damaged pickle may raise anything
        raise BadInput(f"{name!r} cannot be unpickled: {type(error).__name__}: {str(error)[:200]}") from error
    yield from map(_plain, _rows(content, name))


def _rows(content: Any, name: str) -> Iterator[Any]:
    if callable(getattr(content, "to_dict", None)) and hasattr(content, "columns"):
        by_id = "material_id" not in content.columns and all(isinstance(each, str) for each in content.index)
        table = content.rename_axis("material_id").reset_index() if by_id else content
        yield from table.to_dict("records")
    elif isinstance(content, Mapping):
        yield from _rows_of_mapping(content)
    elif isinstance(content, list | tuple):
        yield from content
    elif content is not None and not isinstance(content, str | bytes | int | float):
        yield content
    else:
        raise BadInput(f"{name!r} holds {type(content).__name__}, no records")


def _rows_of_mapping(content: Mapping[Any, Any]) -> Iterator[Any]:
    """Yield the rows of a dictionary of columns, of one of records by id, or the one record that it is."""
    columns = list(content.values())
    if all(isinstance(each, list | tuple) for each in columns) and len({len(each) for each in columns}) == 1:
        yield from (dict(zip(content, row, strict=True)) for row in zip(*columns, strict=True))
    elif isinstance(content.get("material_id"), str) or {"lattice", "structure"} & content.keys():
        yield content
    else:
        for key, value in content.items():
            record = _plain(value)
            yield {"material_id": str(key), **record} if isinstance(record, dict) else value


def _plain(value: Any) -> Any:
    """Return a document as a dictionary whose values JSON knows; a bare structure stays one."""
    from ingest.materials.structures import plain_structure

    if _is_structure(value):
        return value
    if callable(getattr(value, "model_dump", None)):
        value = value.model_dump()
    if not isinstance(value, Mapping):
        return value
    return {
        str(key): plain_structure(item) if _is_structure(item) else _number_or_same(item) for key, item in value.items()
    }


def _is_structure(value: Any) -> bool:
    return hasattr(value, "lattice") and hasattr(value, "sites") and callable(getattr(value, "to_json", None))


def _number_or_same(value: Any) -> Any:
    if isinstance(value, str):
        return str(getattr(value, "string", value))  # an AlphaID says "mp-ft" where everybody else says "mp-149"
    if isinstance(value, list | tuple | set | frozenset):
        return [_number_or_same(item) for item in value]
    if isinstance(value, dict):
        return {key: _number_or_same(item) for key, item in value.items()}
    if value is None or isinstance(value, int | float | bool):
        return None if isinstance(value, float) and value != value else value
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    if callable(getattr(value, "item", None)) and getattr(value, "ndim", 0) == 0:
        return _number_or_same(value.item())  # a number of numpy
    if callable(getattr(value, "model_dump", None)):
        return value.model_dump(mode="json")
    return str(value)
