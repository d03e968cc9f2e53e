"""Writes the tree in README.md anew, from the modules on disk and the first sentences of their docstrings."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("ingest", "finetune", "assistant", "ui")
LEFT_OUT = ("__init__.py", "__main__.py")
WIDTH = 110


def main() -> None:
    """Replace the code block of the README that begins with `ingest/`."""
    readme = ROOT / "README.md"
    tree = "\n".join(line for package in PACKAGES for line in draw(ROOT / package, ""))
    text = readme.read_text(encoding="utf-8")
    readme.write_text(
        re.sub(r"```\ningest/.*?```", lambda _: f"```\n{tree}\n```", text, flags=re.DOTALL), encoding="utf-8"
    )


def draw(folder: Path, indent: str) -> Iterator[str]:
    """Yield a folder's line, then its modules with what they own, then its folders of modules."""
    yield f"{indent}{folder.name}/"
    deeper = indent + "  "
    for module in sorted(folder.glob("*.py")):
        if module.name not in LEFT_OUT:
            yield f"{deeper}{module.name:<20} {first_sentence(module)}"[:WIDTH].rstrip()
    for inner in sorted(path for path in folder.iterdir() if path.is_dir() and any(path.glob("*.py"))):
        yield from draw(inner, deeper)


def first_sentence(module: Path) -> str:
    """Return the first sentence of a module's docstring, up to its first colon, semicolon or full stop."""
    docstring = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""
    return re.split(r"[.:;](?=\s|$)", docstring.replace("\n", " "), maxsplit=1)[0]


if __name__ == "__main__":
    main()
