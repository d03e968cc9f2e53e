"""What the calculator can do with values: literals, operators, functions, within bounds and with uncertainties."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from ingest.errors import BadInput

MAX_CHARACTERS = 1000
MAX_INTEGER_BITS = 4096
MAX_FACTORIAL = 170  # the largest whose value a float can hold


class BadExpression(BadInput):
    """The calculator cannot work out the expression; the message says which part."""

    hint = 'Write it like: matlit tool calculator "1.43 eV to nm"'


def _number(text: str) -> float | int:
    return int(text) if text.isdigit() and len(text) <= MAX_CHARACTERS else float(text)


def _uncertain(value: str, spread: str) -> Any:
    from uncertainties import ufloat

    return ufloat(float(value), float(spread))


def _shorthand(text: str) -> Any:
    from uncertainties import ufloat_fromstr

    return ufloat_fromstr(text)


def _power(base: Any, exponent: Any) -> Any:
    exponent = _dimensionless(exponent, "an exponent")
    if isinstance(base, int) and isinstance(exponent, int):
        if exponent >= 0 and base.bit_length() * exponent <= MAX_INTEGER_BITS:
            return base**exponent
        return float(base) ** exponent
    result = base**exponent
    if isinstance(result, complex):
        raise ValueError(f"{base} to the power of {exponent} is not real")
    return result


def _factorial(value: Any) -> int:
    number = _dimensionless(value, "a factorial")
    if plain(number) != int(plain(number)) or not 0 <= number <= MAX_FACTORIAL:
        raise ValueError(f"the factorial of {number} (0 to {MAX_FACTORIAL}, whole numbers)")
    return math.factorial(int(number))


LITERALS: dict[str, Callable[..., Any]] = {"number": _number, "uncertain": _uncertain, "shorthand": _shorthand}
OPERATIONS: dict[str, Callable[..., Any]] = {
    "add": lambda left, right: left + right,
    "subtract": lambda left, right: left - right,
    "multiply": lambda left, right: left * right,
    "divide": lambda left, right: left / right,
    "negative": lambda value: -value,
    "power": _power,
    "factorial": _factorial,
    "percent": lambda value: value / 100,
}


def _mathematics(name: str) -> Callable[..., Any]:
    """Return a function of one dimensionless number that also carries uncertainties."""

    def function(value: Any) -> Any:
        from uncertainties import UFloat, umath

        number = _dimensionless(value, name)
        return getattr(umath if isinstance(number, UFloat) else math, name)(number)

    return function


def _root(value: Any) -> Any:
    magnitude = plain(getattr(value, "magnitude", value))
    if magnitude < 0:
        raise ValueError(f"the square root of {value}")
    return value**0.5


def _rounded(value: Any, digits: Any = 0) -> Any:
    places = int(plain(_dimensionless(digits, "the digits of round")))
    return round(value, places)


def _mean(*values: Any) -> Any:
    return sum(values[1:], start=values[0]) / len(values)


def _stdev(*values: Any) -> Any:
    """Return the sample standard deviation (n - 1)."""
    if len(values) < 2:
        raise ValueError("stdev needs two values or more")
    middle = _mean(*values)
    squares = [(value - middle) ** 2 for value in values]
    return (sum(squares[1:], start=squares[0]) / (len(values) - 1)) ** 0.5


def _whole(name: str) -> Callable[..., Any]:
    def function(*values: Any) -> int:
        numbers = [plain(_dimensionless(value, name)) for value in values]
        if any(number != int(number) for number in numbers):
            raise ValueError(f"{name} takes whole numbers")
        return int(getattr(math, name)(*map(int, numbers)))

    return function


def _binomial(total: Any, chosen: Any) -> int:
    n, k = (plain(_dimensionless(value, "binomial")) for value in (total, chosen))
    if n != int(n) or k != int(k) or not 0 <= k <= n <= 1000:
        raise ValueError("binomial(n, k) takes whole numbers, 0 ≤ k ≤ n ≤ 1000")
    return math.comb(int(n), int(k))


FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{name: _mathematics(name) for name in ("exp", "sin", "cos", "tan", "asin", "acos", "atan")},
    **{name: _mathematics(name) for name in ("sinh", "cosh", "tanh")},
    "ln": _mathematics("log"),
    "log": _mathematics("log10"),
    "log10": _mathematics("log10"),
    "log2": lambda value: _mathematics("log")(value) / math.log(2),
    "sqrt": _root,
    "abs": abs,
    "round": _rounded,
    "floor": lambda value: math.floor(plain(_dimensionless(value, "floor"))),
    "ceil": lambda value: math.ceil(plain(_dimensionless(value, "ceil"))),
    "min": lambda *values: min(values),
    "max": lambda *values: max(values),
    "sum": lambda *values: sum(values[1:], start=values[0]),
    "mean": _mean,
    "stdev": _stdev,
    "gcd": _whole("gcd"),
    "lcm": _whole("lcm"),
    "factorial": _factorial,
    "binomial": _binomial,
}
MANY = {"min", "max", "sum", "mean", "stdev", "gcd", "lcm"}
TWO = {"round": (1, 2), "binomial": (2, 2)}


def apply(name: str, arguments: Sequence[Any]) -> Any:
    """Return what the function of that name makes of its arguments. Raises BadExpression for a wrong number of them."""
    least, most = TWO.get(name, (1, 1)) if name not in MANY else (1, 1000)
    if not least <= len(arguments) <= most:
        wanted = f"{least}" if least == most else f"{least} to {most}"
        raise BadExpression(f"{name} takes {wanted} values, not {len(arguments)}")
    return FUNCTIONS[name](*arguments)


# --- numbers ------------------------------------------------------------------------------------------


def _dimensionless(value: Any, where: str) -> Any:
    if not hasattr(value, "units"):
        return value
    if not value.dimensionless:
        raise BadExpression(f"{where} takes a pure number, not {value:~P}")
    return value.to("dimensionless").magnitude


def plain(value: Any) -> float | int:
    """Return a number without its uncertainty."""
    value = getattr(value, "nominal_value", value)
    return value if isinstance(value, int) else float(value)


def tidied(quantity: Any) -> Any:
    """Return a dimensionless ratio as a number in itself, and a mixed unit (eV·s/J) in base units."""
    if quantity.dimensionless and not quantity.unitless:
        return quantity.to("dimensionless")
    return quantity.to_reduced_units() if len(dict(quantity.unit_items())) > 1 else quantity


def written_number(number: float | int) -> str:
    """Return a number as the result shows it."""
    return str(number) if isinstance(number, int) and abs(number) < 10**40 else f"{number:.10g}"
