"""The structure tool: what can be computed from a crystal structure, by pymatgen, within bounds."""

from __future__ import annotations

from typing import Literal

from assistant.tools.base import Tool, ToolContext, ToolOutput, from_function

Task = Literal["summary", "sites", "neighbours", "xrd", "oxidation_states", "supercell", "compare"]


def make(context: ToolContext) -> Tool:
    """Return the tool, reading structures from the context's attachments and library."""

    def structure(
        structure: str = "",
        task: Task = "summary",
        other: str = "",
        element: str = "",
        wavelength: str = "CuKa",
        highest_two_theta_deg: float = 90.0,
        supercell: list[int] = [2, 2, 2],  # noqa: B006 - read only
    ) -> ToolOutput:
        """Compute facts of a crystal structure: density, molar mass, symmetry, lattice, neighbours, XRD peaks.

        Tasks: "summary" (formula, composition, molar mass, space group, density, lattice), "sites" (Wyckoff
        positions), "neighbours" (coordination numbers and bond lengths), "xrd" (powder peaks), "oxidation_states",
        "supercell", "compare" (with `other`: the same structure or not).

        Args:
            structure: name of an attached file, id of a record such as mp-149, or CIF, POSCAR or pymatgen JSON text;
                empty for the only attached file
            task: what to compute
            other: the second structure for "compare", given like the first
            element: for "neighbours", only around this element, such as Li
            wavelength: for "xrd", a line such as CuKa, MoKa, CoKa, or a length in ångström
            highest_two_theta_deg: for "xrd", the largest angle 2θ in degrees
            supercell: for "supercell", multiples of the cell along a, b and c
        """
        from assistant.tools import crystallography as compute
        from assistant.tools.attached import both_named, find_structure, parse_structure
        from assistant.tools.diffraction import diffract
        from assistant.tools.oxidation import find_oxidation_states

        if task == "compare":
            structure, other = both_named(context.attachments, structure, other)
        first = parse_structure(find_structure(context, structure))
        sources = [first.source]
        if task == "compare":
            second = parse_structure(find_structure(context, other))
            sources.append(second.source)
            found = compute.compare(first.structure, second.structure, (first.name, second.name))
        elif task == "neighbours":
            found = compute.list_neighbours(first.structure, element=element.strip())
        elif task == "xrd":
            found = diffract(first.structure, wavelength=wavelength, highest_deg=highest_two_theta_deg)
        elif task == "supercell":
            found = compute.multiply(first.structure, supercell)
        elif task == "sites":
            found = compute.list_sites(first.structure)
        elif task == "oxidation_states":
            found = find_oxidation_states(first.structure)
        else:
            found = compute.summarise(first.structure)
        notes = [f"note: {note}" for note in first.notes]
        text = "\n".join(
            [f"{first.structure.composition.reduced_formula} ({first.name}), {task}:", *found.lines, *notes]
        )
        data = {"structure": first.name, "source": first.source, "task": task, **found.data, "notes": list(first.notes)}
        return ToolOutput(data, text, tuple(sources))

    return from_function(structure, read_only=True)
