"""The calculator: numbers with units, constants and uncertainties, parsed by a grammar and never run as code.

    1.43 eV to nm        sqrt(2) * 5.43 Å        h*c/(589 nm) in eV        5 g / molar_mass(LiFePO4) to mol

A name that follows a number or another unit is a unit (`3 h` is three hours); one that stands alone is a constant where
there is one (`h*c`). Juxtaposition binds tighter than a slash, as in print: `8.314 J/mol K` is J/(mol K); where that
could surprise (`4/3 pi`) the calculator asks for parentheses.
Constants are CODATA values as pint carries them; conversions between energy, frequency, wavelength and temperature go
through E = hν = hc/λ = kT, per mole through the Avogadro number, and the result says so.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from assistant.tools.arithmetic import (
    FUNCTIONS,
    LITERALS,
    MAX_CHARACTERS,
    OPERATIONS,
    BadExpression,
    apply,
    plain,
    tidied,
    written_number,
)
from assistant.tools.base import Tool, ToolContext, ToolOutput, from_function
from assistant.tools.molar import molar_mass

if TYPE_CHECKING:
    from lark import Lark, Tree
    from pint import UnitRegistry


MAX_DEPTH = 60
GRAMMAR = r"""
start: sum [_TO sum]
?sum: product | sum "+" product -> add | sum "-" product -> subtract
?product: unary | product "*" unary -> multiply | product "/" unary -> divide
?unary: "-" unary -> negative | "+" unary | juxtaposed
?juxtaposed: power | juxtaposed power -> juxtapose
?power: postfix | postfix "^" exponent -> power
?exponent: "-" exponent -> negative | "+" exponent | power
?postfix: atom | postfix "!" -> factorial | postfix "%" -> percent
?atom: NUMBER -> number
     | NUMBER _PLUS_MINUS NUMBER -> uncertain
     | SHORTHAND -> shorthand
     | NAME -> name
     | _MOLAR_MASS FORMULA ")" -> molar_mass
     | NAME "(" [sum ("," sum)*] ")" -> call
     | "(" sum ")"

_TO.5: /\b(to|in|as)\b|→|->/
_PLUS_MINUS: "±" | "+/-"
_MOLAR_MASS.6: /molar_mass\s*\(/
FORMULA.6: /([^()]|\(([^()]|\([^()]*\))*\))+/
SHORTHAND.4: /\d+\.\d+\(\d+\)([eE][+-]?\d+)?/
NUMBER.3: /(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?/
NAME: /[^\W\d][\w°]*|°[CF]|[Åµ]/
%ignore /\s+/
"""

CONSTANTS = {  # name -> (pint's name, what it is)
    "pi": ("3.141592653589793", "the circle number"),
    "π": ("3.141592653589793", "the circle number"),
    "h": ("planck_constant", "Planck constant"),
    "hbar": ("hbar", "reduced Planck constant"),
    "ħ": ("hbar", "reduced Planck constant"),
    "c": ("speed_of_light", "speed of light in vacuum"),
    "c0": ("speed_of_light", "speed of light in vacuum"),
    "k": ("boltzmann_constant", "Boltzmann constant"),
    "kB": ("boltzmann_constant", "Boltzmann constant"),
    "k_B": ("boltzmann_constant", "Boltzmann constant"),
    "R": ("molar_gas_constant", "molar gas constant"),
    "F": ("faraday_constant", "Faraday constant"),
    "N_A": ("avogadro_number / mol", "Avogadro constant"),
    "NA": ("avogadro_number / mol", "Avogadro constant"),
    "q": ("elementary_charge", "elementary charge"),
    "q_e": ("elementary_charge", "elementary charge"),
    "m_e": ("electron_mass", "electron mass"),
    "m_p": ("proton_mass", "proton mass"),
    "m_n": ("neutron_mass", "neutron mass"),
    "m_u": ("atomic_mass_constant", "atomic mass constant"),
    "a0": ("bohr", "Bohr radius"),
    "a_0": ("bohr", "Bohr radius"),
    "eps0": ("vacuum_permittivity", "vacuum permittivity"),
    "epsilon_0": ("vacuum_permittivity", "vacuum permittivity"),
    "ε0": ("vacuum_permittivity", "vacuum permittivity"),
    "mu0": ("vacuum_permeability", "vacuum permeability"),
    "μ0": ("vacuum_permeability", "vacuum permeability"),
    "mu_B": ("bohr_magneton", "Bohr magneton"),
    "μ_B": ("bohr_magneton", "Bohr magneton"),
    "G": ("gravitational_constant", "gravitational constant"),
    "g_n": ("standard_gravity", "standard acceleration of gravity"),
    "sigma_SB": ("stefan_boltzmann_constant", "Stefan-Boltzmann constant"),
    "R_inf": ("rydberg_constant", "Rydberg constant"),
}
PURE_NUMBERS = {"pi", "π"}
UNITS_OF_THE_FIELD = (  # what materials papers write and pint does not know
    "atom = count",
    "formula_unit = count = f_u",
    "mAh = milliampere * hour",
    "Ah = ampere * hour",
    "emu = 1e-3 * ampere * meter ** 2",
    "emu_per_gram = ampere * meter ** 2 / kilogram",
    "Ha = hartree",
    "wt_percent = percent",
    "at_percent = percent",
)
COMMON_UNITS = ("eV", "meV", "keV", "nm", "K", "J", "kJ", "Pa", "MPa", "GPa", "mAh", "Wh", "mol", "V", "A", "T", "Hz")
SPELLINGS = {"°C": "degC", "℃": "degC", "°F": "degF", "\u00c5": "angstrom", "\u212b": "angstrom", "Ω": "ohm"}
SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
OPERATORS = {"×": "*", "·": "*", "⋅": "*", "∙": "*", "÷": "/", "−": "-", "–": "-", "**": "^", "（": "(", "）": ")"}


@dataclass(frozen=True, slots=True)
class Calculation:
    """A result: `value` in `unit` ("" when dimensionless), its standard uncertainty or None, and what was assumed."""

    expression: str
    value: float | int
    unit: str
    uncertainty: float | None
    text: str
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain data."""
        return {
            "expression": self.expression,
            "value": self.value,
            "unit": self.unit,
            "uncertainty": self.uncertainty,
            "text": self.text,
            "notes": list(self.notes),
        }


def make(_: ToolContext) -> Tool:
    """Return the tool."""

    def calculator(expression: str) -> ToolOutput:
        """Work out an arithmetic expression with units and physical constants, exactly; also converts units.

        Examples: "1.43 eV to nm", "h*c/(589 nm) in eV", "sqrt(2)*5.43 Å", "4*28.0855 g/mol / (N_A*(5.431 Å)^3) to
        g/cm^3", "25 degC to K", "5 g / molar_mass(LiFePO4) to mol".

        Args:
            expression: numbers, units, + - * / ^, functions such as sqrt, exp, ln, sin, molar_mass(FORMULA); "to UNIT"
                at the end
        """
        result = calculate(expression)
        notes = f" ({'; '.join(result.notes)})" if result.notes else ""
        return ToolOutput(result.to_json(), f"{result.expression} = {result.text}{notes}", ("calculator",))

    return from_function(calculator, read_only=True)


def calculate(expression: str) -> Calculation:
    """Work out an arithmetic expression with units, such as "1.43 eV to nm" or "h*c/(589 nm) in eV".

    Knows + - * / ^ ! %, sqrt, exp, ln, log10, log2, the trigonometric and hyperbolic functions, abs, round, floor,
    ceil, min, max, sum, mean, stdev, gcd, lcm, factorial and binomial; the molar mass of a formula, molar_mass(Fe2O3);
    physical constants h, hbar, c, k_B, N_A, R, F, q_e, m_e, eps0 …; units with SI prefixes, eV, Å, mAh, °C; and
    "to UNIT" at the end. Angles are in radians unless a unit such as deg is given.

    Raises:
        BadExpression: not an expression, an unknown name, units that do not fit, a division by zero, a value too large.
    """
    if not expression.strip():
        raise BadExpression("the expression is empty")
    if len(expression) > MAX_CHARACTERS:
        raise BadExpression(f"the expression has {len(expression)} characters; {MAX_CHARACTERS} are the most")
    return _Evaluation(expression).result()


class _Evaluation:
    """One expression on its way to a result, with the assumptions made on the way."""

    def __init__(self, expression: str) -> None:
        self.expression = expression.strip()
        self.notes: list[str] = []
        self.registry = _registry()

    def result(self) -> Calculation:
        import pint

        body, target = _parse(self.expression).children
        try:
            value = self.value(body, depth=0)
            if target is not None:
                value = self.converted(value, self.units(target))
            elif hasattr(value, "units"):
                value = tidied(value)
            return self.finished(value)
        except pint.DimensionalityError as error:
            raise BadExpression(f"units do not fit in {self.expression!r}: {error}") from error
        except pint.OffsetUnitCalculusError as error:
            raise BadExpression(
                f"a temperature in °C or °F cannot be added or multiplied in {self.expression!r}",
                hint="Convert it first: 25 °C to K",
            ) from error
        except ZeroDivisionError as error:
            raise BadExpression(f"division by zero in {self.expression!r}") from error
        except (OverflowError, ArithmeticError) as error:
            raise BadExpression(f"a value in {self.expression!r} is too large or not a number: {error}") from error
        except ValueError as error:
            raise BadExpression(f"{self.expression!r} has no real value: {error}") from error

    # --- values -------------------------------------------------------------------------------------

    def value(self, tree: Any, *, depth: int, after_number: bool = False) -> Any:
        """Return the value of a node. `after_number` says that a name here stands where a unit would."""
        if depth > MAX_DEPTH:
            raise BadExpression(f"{self.expression!r} is nested more than {MAX_DEPTH} deep")
        if tree.data == "name":
            return self.named(str(tree.children[0]), unit_first=after_number)
        if tree.data == "juxtapose":
            left = self.value(tree.children[0], depth=depth + 1, after_number=after_number)
            return left * self.value(tree.children[1], depth=depth + 1, after_number=True)
        if tree.data == "divide":
            return self.divided(*tree.children, depth=depth)
        if tree.data == "call":
            return self.called(tree, depth=depth)
        if tree.data == "molar_mass":
            return self.molar_mass(str(tree.children[0]))
        if tree.data in LITERALS:
            return LITERALS[tree.data](*map(str, tree.children))
        parts = [
            self.value(child, depth=depth + 1, after_number=after_number and tree.data == "power" and index == 0)
            for index, child in enumerate(tree.children)
        ]
        return OPERATIONS[tree.data](*parts)

    def divided(self, above: Any, below: Any, *, depth: int) -> Any:
        """Return a quotient; below a unit a name is a unit too: the h of `100 km/h` is an hour."""
        if below.data == "juxtapose" and not all(map(self.is_unit, _factors(below)[1:])):
            raise BadExpression(
                f"the slash in {self.expression!r} can be read in two ways", hint="Write (4/3)*pi or 4/(3*pi)"
            )
        above_ends_in_unit = above.data == "juxtapose" and self.is_unit(above.children[1])
        top = self.value(above, depth=depth + 1)
        return top / self.value(below, depth=depth + 1, after_number=above_ends_in_unit)

    def is_unit(self, tree: Any) -> bool:
        """Tell whether a factor is a unit or a power of one."""
        base = tree.children[0] if tree.data == "power" else tree
        return bool(base.data == "name" and self.unit(str(base.children[0])) is not None)

    def named(self, name: str, *, unit_first: bool) -> Any:
        if name == "e":
            raise BadExpression("'e' could be Euler's number or the elementary charge", hint="Write exp(1) or q_e")
        found = self.unit(name)
        if found is None and name in FUNCTIONS:
            raise BadExpression(f"{name} is a function in {self.expression!r}", hint=f"Write it like {name}(2)")
        if name in CONSTANTS and not (unit_first and found is not None):
            return self.constant(name)
        if found is None:
            raise BadExpression(f"unknown name {name!r} in {self.expression!r}{_near(name)}")
        if name in CONSTANTS:
            self.notes.append(f"{name} read as the unit {found}")
        return 1 * found

    def constant(self, name: str) -> Any:
        source, meaning = CONSTANTS[name]
        if name not in PURE_NUMBERS:
            self.notes.append(f"{name} = {meaning} (CODATA)")
        value = self.registry.Quantity(1, source) if not source[0].isdigit() else float(source)
        return value.to_base_units() if hasattr(value, "to_base_units") else value

    def unit(self, name: str) -> Any:
        import pint

        if name in PURE_NUMBERS:
            return None
        try:
            return self.registry.Unit(SPELLINGS.get(name, name))
        except (pint.UndefinedUnitError, AttributeError):
            powered = re.fullmatch(r"([^\W\d]+)([23])", name)  # cm3, as papers write it
            base = self.unit(powered[1]) if powered else None
            return None if base is None or powered is None else base ** int(powered[2])

    def called(self, tree: Tree[Any], *, depth: int) -> Any:
        name = str(tree.children[0])
        arguments = [self.value(child, depth=depth + 1) for child in tree.children[1:] if child is not None]
        if name in FUNCTIONS:
            return apply(name, arguments)
        if len(arguments) == 1 and (name in CONSTANTS or self.unit(name) is not None):
            return self.named(name, unit_first=False) * arguments[0]
        raise BadExpression(f"unknown function {name!r}; known are {', '.join(sorted(FUNCTIONS))}")

    def molar_mass(self, formula: str) -> Any:
        written = formula.strip().replace("*", "·")  # the dot of a hydrate
        self.notes.append(f"molar mass of {written} from standard atomic weights")
        return self.registry.Quantity(molar_mass(written), "g/mol")

    # --- units --------------------------------------------------------------------------------------

    def units(self, tree: Any) -> Any:
        """Return the unit that the part behind "to" names."""
        quantity = self.value(tree, depth=0, after_number=True)
        if not hasattr(quantity, "units"):
            raise BadExpression(f"what stands behind 'to' in {self.expression!r} is no unit")
        if not math.isclose(plain(quantity.magnitude), 1.0):
            raise BadExpression(f"what stands behind 'to' in {self.expression!r} is a quantity, not a unit")
        return quantity.units

    def converted(self, value: Any, target: Any) -> Any:
        quantity = value if hasattr(value, "units") else self.registry.Quantity(value)
        if quantity.is_compatible_with(target):
            return quantity.to(target)
        for note, attempt in (
            ("per mole through the Avogadro constant", lambda: (quantity * self.avogadro()).to(target)),
            ("per particle through the Avogadro constant", lambda: (quantity / self.avogadro()).to(target)),
            ("through E = hν = hc/λ", lambda: quantity.to(target, "spectroscopy")),
            ("through E = kT", lambda: quantity.to(target, "boltzmann")),
        ):
            converted = _unless_misfit(attempt)
            if converted is not None:
                self.notes.append(note)
                return converted
        return quantity.to(target)  # raises the error that names both dimensions

    def avogadro(self) -> Any:
        return self.registry.Quantity(1, "avogadro_number / mol")

    # --- the result ---------------------------------------------------------------------------------

    def finished(self, value: Any) -> Calculation:
        if hasattr(value, "units"):
            magnitude, unit = value.magnitude, f"{value.units:~P}"
        else:
            magnitude, unit = value, ""
        number, uncertainty = plain(magnitude), getattr(magnitude, "std_dev", None)
        if not math.isfinite(number):
            raise BadExpression(f"the value of {self.expression!r} is not finite")
        written = f"{magnitude:.2uP}" if uncertainty else written_number(number)
        return Calculation(
            expression=self.expression,
            value=number,
            unit=unit,
            uncertainty=float(uncertainty) if uncertainty else None,
            text=f"{written} {unit}".strip(),
            notes=tuple(dict.fromkeys(self.notes)),
        )


def _parse(expression: str) -> Tree[Any]:
    from lark.exceptions import UnexpectedInput

    text = _spelled(expression)
    try:
        return _grammar().parse(text)
    except UnexpectedInput as error:
        at = min(max(error.pos_in_stream or 0, 0), len(text))
        where = f"near {text[at : at + 12]!r}" if text[at:].strip() else "at its end"
        raise BadExpression(f"cannot read {expression!r} {where}") from error
    except RecursionError as error:
        raise BadExpression(f"{expression[:40]!r}… is nested too deep") from error


def _spelled(expression: str) -> str:
    """Return the expression in the grammar's own characters: superscripts as powers, typographic signs as operators."""
    text = _bare(expression)
    text = re.sub(r"[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺]+", lambda found: f"^({found[0].translate(SUPERSCRIPTS)})", text)
    text = re.sub(r"(?<![^\W\d])[uµμ]B\b", " mu_B ", text)
    for spelling, name in SPELLINGS.items():
        text = text.replace(spelling, f" {name} ")
    text = unicodedata.normalize("NFKC", text)
    for sign, operator in OPERATORS.items():
        text = text.replace(sign, operator)
    text = re.sub(r"°(?![CF])", " deg ", text)
    text = re.sub(r"√\s*(\d+\.?\d*)", r" sqrt(\1)", text).replace("√", " sqrt")
    text = re.sub(r"\b(?:wt|at|mol|vol)\.?\s*%", "%", text)
    text = re.sub(r"(?:%|\bpercent)\s*of\b", "% *", text)
    text = re.sub(r"(?<=\d)\s*[xX]\s*(?=\d)", " * ", text)
    text = re.sub(r"(?<=[\d.])[eE]-\d+|([^\W\d]+)-(?=\d+(?![\w.]))", _attached_power, text)
    return text if "(" in text else re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)


# What people and models write around an expression: "Calculate: …", "E = …", "… = ?", Markdown and TeX marks.
_AROUND = re.compile(
    r"^(?:please\s+)?(?:(?:calculate|compute|evaluate|convert|solve|what is|what's)\b:?\s*)?(?:[^\W\d]\w*\s*=|=)?\s*",
    re.IGNORECASE,
)


def _bare(expression: str) -> str:
    text = expression.strip().strip("`$").strip()
    return _AROUND.sub("", text).rstrip("?= ").strip("`$ ")


def _attached_power(found: re.Match[str]) -> str:
    """Read the `-3` of `cm-3` as a power; in `1e-3` it is part of the number, behind a constant a subtraction."""
    return found[0] if found[1] is None or found[1] in CONSTANTS else f"{found[1]}^-"


def _factors(tree: Any) -> list[Any]:
    """Return the factors of a juxtaposition, from left to right."""
    if tree.data != "juxtapose":
        return [tree]
    return [*_factors(tree.children[0]), tree.children[1]]


@cache
def _grammar() -> Lark:
    from lark import Lark

    return Lark(GRAMMAR, parser="lalr", maybe_placeholders=True)


@cache
def _registry() -> UnitRegistry[Any]:
    import pint

    registry: UnitRegistry[Any] = pint.UnitRegistry(autoconvert_offset_to_baseunit=True, cache_folder=":auto:")
    for definition in UNITS_OF_THE_FIELD:
        registry.define(definition)
    return registry


def _unless_misfit(attempt: Callable[[], Any]) -> Any:
    import pint

    try:
        return attempt()
    except pint.DimensionalityError:
        return None


def _near(name: str) -> str:
    from difflib import get_close_matches

    same = [unit for unit in COMMON_UNITS if unit.casefold() == name.casefold()]
    close = same or get_close_matches(name, [*CONSTANTS, *FUNCTIONS], n=1, cutoff=0.75)
    return f"; did you mean {close[0]!r}?" if close else ""
