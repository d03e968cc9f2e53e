"""The house: imports point leftwards, every module imports without a network, and the README's tree is the disk's."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("ingest", "finetune", "assistant", "ui")  # each may import only what stands to its left
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
NO_NETWORK = """
import socket, sys
def refuse(*args, **kwargs):
    raise AssertionError("an import opened a connection")
socket.socket.connect = refuse
socket.getaddrinfo = refuse
for name in sys.argv[1:]:
    __import__(name)
"""


def imported_packages(path: Path) -> set[str]:
    """Return the top-level packages of ours that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names & set(PACKAGES)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_leftwards(path: Path) -> None:
    room = PACKAGES.index(path.relative_to(ROOT).parts[0])
    assert imported_packages(path) <= set(PACKAGES[: room + 1])


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_says_what_it_owns(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def test_every_package_is_part_of_what_is_installed() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    assert sorted(listed) == sorted({".".join(path.relative_to(ROOT).parts[:-1]) for path in MODULES})


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_an_extra_that_is_asked_for_exists(path: Path) -> None:
    calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    named = {
        ast.literal_eval(keyword.value)
        for call in calls
        if isinstance(call.func, ast.Name) and call.func.id == "MissingExtra"
        for keyword in call.keywords
    }
    assert named <= tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"].keys()


def test_all_modules_import_without_a_network() -> None:
    names = [module_name(path) for path in MODULES if path.name != "__main__.py"]
    done = subprocess.run([sys.executable, "-c", NO_NETWORK, *names], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_the_command_line_starts_without_heavy_imports() -> None:
    heavy = ("torch", "chromadb", "onnxruntime", "llama_index", "transformers", "numpy", "streamlit", "pypdf")
    script = f"import sys, ui.cli; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_readme_tree_is_the_disk() -> None:
    tree = re.search(r"```\n(ingest/.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert tree, "the README shows no tree"
    assert listed(tree.group(1)) == on_disk()


def listed(tree: str) -> set[str]:
    """Return the paths that an indented tree names: folders end in a slash and own the deeper lines below them."""
    paths: set[str] = set()
    folders: list[tuple[int, str]] = []
    for line in filter(str.strip, tree.splitlines()):
        indent, name = len(line) - len(line.lstrip()), line.split()[0]
        while folders and folders[-1][0] >= indent:
            folders.pop()
        path = "".join(folder for _, folder in folders) + name
        if name.endswith("/"):
            folders.append((indent, name))
        else:
            paths.add(path)
    return paths


def on_disk() -> set[str]:
    return {str(path.relative_to(ROOT)) for path in MODULES if path.name not in {"__init__.py", "__main__.py"}}
