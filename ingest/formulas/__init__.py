"""Chemical formulas in text, however they are typeset: where they stand, one canonical spelling, and their elements.

A formula is recognised by its grammar (element symbols, counts, groups, hydrates, charges) and then has to look like
chemistry rather than like an abbreviation: `LiFePO₄`, `Li Fe P O4` and `Li<sub>…` are found, `HOMO`, `Fig. S1` and
`In` are not. Nothing here knows which compounds exist.
"""

from ingest.formulas.composition import amounts, composition_key
from ingest.formulas.finding import Formula, find, normalise
from ingest.formulas.symbols import elements, named_elements

__all__ = ["Formula", "amounts", "composition_key", "elements", "find", "named_elements", "normalise"]
