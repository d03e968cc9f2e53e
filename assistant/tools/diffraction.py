"""Powder X-ray patterns of structures, by pymatgen, and the names and units that wavelengths come in."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Any

from assistant.tools.bounds import MOST_ROWS, Found, counted, find_analyzer, first_rows, quietly, refuse_large
from ingest.errors import BadInput

if TYPE_CHECKING:
    from pymatgen.core import Structure

WEAKEST_PERCENT = 1.0  # peaks below this share of the strongest are left out
WHOLE_PATTERN_DEG = 90.0  # the strongest is sought up to here: below the first peak all that is left is rounding
HC_KEV_A = 12.398419843320026  # Planck's constant times the speed of light, exact in the SI of 2019

_PER_A = {"": 1.0, "å": 1.0, "a": 1.0, "angstrom": 1.0, "ångström": 1.0, "nm": 10.0, "pm": 0.01}
_GREEK = {"alpha": "a", "beta": "b", "α": "a", "β": "b"}


def diffract(structure: Structure, *, wavelength: str = "CuKa", highest_deg: float = 90.0) -> Found:
    """Return the powder X-ray peaks up to 2θ = `highest_deg` degrees; `wavelength` is a line's name or a length.

    Indices are those of the conventional cell where a smaller one is given, as the literature has them.
    """
    refuse_large(structure, "a diffraction pattern")
    if not 0 < highest_deg <= 180:
        raise BadInput(f"2θ up to {highest_deg} degrees is no angle", hint="Give one above 0 and at most 180")
    length = find_wavelength(wavelength)
    cell, whose = _indexed_cell(structure)
    peaks = [
        peak
        for peak in _peaks(cell, length, max(highest_deg, WHOLE_PATTERN_DEG))
        if peak["intensity_percent"] >= WEAKEST_PERCENT and peak["two_theta_deg"] <= highest_deg
    ]
    radiation = f"λ = {length:.6g} Å ({wavelength})"
    head = f"{counted(len(peaks), 'powder peak')} up to 2θ = {highest_deg:g}° for {radiation}; indices of {whose}"
    data = {
        "wavelength_a": length,
        "radiation": wavelength,
        "highest_two_theta_deg": highest_deg,
        "indices_of": whose,
        "peaks": peaks[:MOST_ROWS],
        "count": len(peaks),
    }
    return Found(data, (head, *first_rows(list(map(_peak_line, peaks)))))


def _indexed_cell(structure: Structure) -> tuple[Structure, str]:
    try:
        analyzer = find_analyzer(structure)
        with quietly("there is no conventional cell"):
            conventional = analyzer.get_conventional_standard_structure()
    except BadInput:  # atoms that share a place have a pattern, but no symmetry
        return structure, "the given cell"
    if len(conventional) <= len(structure):
        return structure, "the given cell"
    lengths = ", ".join(f"{value:.4f}" for value in conventional.lattice.abc)
    return conventional, f"the conventional cell ({lengths} Å)"


def _peaks(structure: Structure, length: float, highest_deg: float) -> list[dict[str, Any]]:
    from pymatgen.analysis.diffraction.xrd import XRDCalculator

    with quietly("no diffraction pattern can be computed"):
        try:
            pattern = XRDCalculator(wavelength=length).get_pattern(structure, two_theta_range=(0, highest_deg))
        except ValueError as error:
            if "empty" in str(error):  # no plane reflects below that angle
                return []
            raise
    return [
        {
            "two_theta_deg": round(float(angle), 3),
            "intensity_percent": round(float(intensity), 2),
            "d_a": round(float(d), 5),
            "hkl": [list(map(int, plane["hkl"])) for plane in planes],
        }
        for angle, intensity, planes, d in zip(pattern.x, pattern.y, pattern.hkls, pattern.d_hkls, strict=True)
    ]


def _peak_line(peak: dict[str, Any]) -> str:
    planes = " ".join("(" + " ".join(map(str, hkl)) + ")" for hkl in peak["hkl"])
    return f"2θ = {peak['two_theta_deg']:.2f}°, {planes}, d = {peak['d_a']:.4f} Å, {peak['intensity_percent']:.1f} %"


def find_wavelength(given: str) -> float:
    """Return a wavelength in Å: of a line ("CuKa", "Cu Kα₁", "Mo", "銅"), or given in Å, nm, pm, or as keV.

    Raises:
        BadInput: it is none, or lies outside of 0.1 to 10 Å.
    """
    from pymatgen.analysis.diffraction.xrd import WAVELENGTHS

    plain = re.sub(r"[\s_-]|radiation|line|線", "", unicodedata.normalize("NFKC", given).casefold())
    length = _measured(plain) or _of_line(plain, {name.casefold(): length for name, length in WAVELENGTHS.items()})
    if not 0.1 <= length <= 10:
        lines = ", ".join(WAVELENGTHS)
        raise BadInput(f"{given!r} is no X-ray wavelength", hint=f"0.1 to 10 Å (or in nm, pm, keV), or one of {lines}")
    return length


def _measured(plain: str) -> float:
    found = re.fullmatch(r"(\d+\.?\d*|\.\d+)(\D*)", plain)
    if found is None or float(found[1]) == 0:
        return 0.0
    if found[2] == "kev":
        return HC_KEV_A / float(found[1])
    return float(found[1]) * _PER_A.get(found[2], 0.0)


def _of_line(plain: str, known: dict[str, float]) -> float:
    from ingest.elements import find_symbol

    for greek, latin in _GREEK.items():
        plain = plain.replace(greek, latin)
    found = re.fullmatch(r"(\D+?)(k[ab]?[12]?)?", plain)
    symbol = find_symbol(found[1]).casefold() if found else ""
    line = (found[2] if found else None) or "ka"
    names = (f"{symbol}{line}", f"{symbol}{line}a", f"{symbol}{line}1")  # "Cu K" is Kα, "Cu Kβ" is Kβ1
    return next((known[name] for name in names if symbol and name in known), 0.0)
