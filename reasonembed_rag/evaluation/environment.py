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
    instruction_set: str | None = None
    """What the processor can do that changes speed and last bits, such as "AVX512, bfloat16 native, int8 exact"."""


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
        instruction_set=_instruction_set(),
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
    return _cpu_line("model name") or platform.processor() or platform.machine()


def _cpu_line(name: str) -> str:
    """Return the first such line of /proc/cpuinfo; empty where there is none."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")


def _instruction_set() -> str | None:
    """Return torch's view where torch is loaded (loading it takes seconds), else the vector flags of the processor."""
    if "torch" in sys.modules:
        from reasonembed_rag.backbone import instruction_set

        return instruction_set()
    flags = _cpu_line("flags").split()
    known = [name for name in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile") if name in flags]
    return ", ".join(known) or None


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):
        return None
