"""Give the assistant a tool of your own: a typed function with a docstring, marked as one that changes nothing.

    python examples/own_tool.py

A package does the same for all its users with an entry point:

    [project.entry-points."matlit.tools"]
    lattice_mismatch = "my_package.tools:lattice_mismatch"
"""

from __future__ import annotations

from assistant.tools import all_tools, call, read_only


@read_only
def lattice_mismatch(film_a: float, substrate_a: float) -> dict[str, object]:
    """Compute the lattice mismatch of a film on a substrate in percent; positive means the film is compressed.

    Args:
        film_a: lattice parameter of the film in ångström
        substrate_a: lattice parameter of the substrate in ångström
    """
    mismatch = 100 * (film_a - substrate_a) / substrate_a
    return {"mismatch_percent": round(mismatch, 3), "film_a": film_a, "substrate_a": substrate_a, "unit": "%"}


def main() -> None:
    """Run the tool as an agent would: by name, with arguments as a model writes them."""
    tools = all_tools(own=[lattice_mismatch])
    result = call(tools["lattice_mismatch"], '{"film_a": 3.905, "substrate_a": 3.868}')
    print("SrTiO3 on LSAT:", result.text)
    wrong = call(tools["lattice_mismatch"], {"film": 3.905})
    print("and when a model errs:", wrong.text)
    print("tools now:", ", ".join(tools))


if __name__ == "__main__":
    main()
