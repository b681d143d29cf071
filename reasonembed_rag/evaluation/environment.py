"""The environment of a measurement: versions, machine and command."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

__all__ = ["Environment", "describe_environment"]

_DISTRIBUTIONS = (
    "reasonembed-rag",
    "numpy",
    "torch",
    "transformers",
    "tokenizers",
    "pytrec-eval-terrier",
    "PyStemmer",
    "datasets",
    "faiss-cpu",
    "chromadb",
    "langchain-core",
    "llama-index-core",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """The command, the versions of installed packages, and the machine."""

    command: str
    python: str
    versions: Mapping[str, str]
    system: str
    processor: str
    cpus: int
    memory_gib: float | None


def describe_environment(command: str | None = None) -> Environment:
    """Return this process's environment; `command` replaces the process's own command line."""
    return Environment(
        command=shlex.join(sys.argv) if command is None else command,
        python=platform.python_version(),
        versions=dict(sorted(_versions().items())),
        system=platform.platform(),
        processor=_processor(),
        cpus=_cpus(),
        memory_gib=_memory_gib(),
    )


def _versions() -> dict[str, str]:
    versions: dict[str, str] = {}
    for name in _DISTRIBUTIONS:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _cpus() -> int:
    """Return the number of CPUs this process may use, or of all CPUs where the system does not tell."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):
        return None
