"""What every benchmark prints about where it ran."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version

import psutil


def describe(*packages: str) -> str:
    """Return one line: processor, cores, memory, Python, and the versions of `packages`."""
    memory_gib = psutil.virtual_memory().total / 2**30
    versions = " ".join(f"{name} {version(name)}" for name in packages)
    place = f"{_processor()}, {os.cpu_count()} cores, {memory_gib:.0f} GiB"
    return f"{place}, Python {platform.python_version()} {versions}".strip()


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123 - a kernel file, not a path of ours
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown processor"
