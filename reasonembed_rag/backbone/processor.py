"""Which number formats this processor multiplies fast and exactly, as torch and oneDNN see it in this process.

The limits ATEN_CPU_CAPABILITY and ONEDNN_MAX_CPU_ISA count as the processor's own: a newer one can simulate an older.
"""

from __future__ import annotations

import functools
import logging
import os
import platform
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "bfloat16_slowdown",
    "emulates_bfloat16",
    "instruction_set",
    "multiplies_int8",
    "prepacks",
    "processor_identity",
    "warn_of_emulation",
]

_logger = logging.getLogger(__name__)

_WITHOUT_BFLOAT16 = {"avx512_core", "avx512_core_vnni"}
"""Values of ONEDNN_MAX_CPU_ISA that allow AVX-512 but not its bfloat16 instructions; torch.cpu ignores it."""
_LIMITS = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS")
_ROWS, _WIDTH = 64, 512
_COMPARED = (torch.float32, torch.bfloat16)
_ROUNDS, _SECONDS = 5, 0.1


def instruction_set() -> str:
    """Return what sets this processor apart from others, such as "AVX512, bfloat16 native, int8 exact"."""
    bfloat16 = "emulated" if emulates_bfloat16() else "native"
    int8 = "exact" if multiplies_int8() else "by way of float32"
    return f"{torch.backends.cpu.get_cpu_capability()}, bfloat16 {bfloat16}, int8 {int8}"


def processor_identity() -> str:
    """Return what the speed of torch's products depends on: processor, instructions, threads and versions."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "CPU part"))]
    name = names[0] if names else platform.processor()
    limits = " ".join(os.environ.get(limit, "") for limit in _LIMITS)
    threads = torch.get_num_threads()
    return f"{platform.machine()} {name}, {instruction_set()}, {limits}, {threads} threads, torch {torch.__version__}"


def emulates_bfloat16() -> bool:
    """Return whether bfloat16 is emulated through float32, several times slower, as its instructions are missing."""
    if not _supports(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", unknown=False):
        return True
    if not _supports(torch.cpu, "_is_avx512_supported", unknown=False):
        return False  # ARM with bfloat16 instructions, or AVX-NE-CONVERT
    limit = (os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA") or "").lower()
    return limit in _WITHOUT_BFLOAT16 or not _supports(torch.cpu, "_is_avx512_bf16_supported", unknown=True)


@functools.cache
def bfloat16_slowdown() -> float:
    """Return the time of a product in bfloat16 as a multiple of that in float32, measured once per process.

    It runs in one thread: on a busy machine, threads that wait for each other would distort the measurement.
    """
    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(rows, _WIDTH, generator=generator) for rows in (_ROWS, _WIDTH))
    products = [functools.partial(functional.linear, x.to(dtype), weight.to(dtype)) for dtype in _COMPARED]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        wide, narrow = _least_times(products)
    finally:
        torch.set_num_threads(threads)
    return narrow / wide


def _least_times(products: Sequence[Callable[[], object]]) -> list[float]:
    """Return the least time of each of several runs in turn: other processes only add time."""
    least = [float("inf")] * len(products)
    rounds, end = 0, time.perf_counter() + _SECONDS
    while rounds < _ROUNDS or time.perf_counter() < end:
        rounds += 1
        for place, product in enumerate(products):
            start = time.perf_counter()
            product()
            least[place] = min(least[place], time.perf_counter() - start)
    return least


@functools.cache
def warn_of_emulation(consequence: str) -> None:
    """Log, once per process and consequence, that bfloat16 is emulated here, how slow that is, and what follows."""
    _logger.warning(
        "bfloat16 is emulated on this CPU: a product takes %.1f times as long as in float32; %s",
        bfloat16_slowdown(),
        consequence,
    )


@functools.cache
def prepacks(dtype: torch.dtype) -> bool:
    """Return whether oneDNN multiplies by weights reordered in advance, and gets torch's own result.

    It refuses bfloat16 on CPUs without AVX-512; the operators are private to torch and may go or change.
    """
    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(rows, _WIDTH, generator=generator).to(dtype) for rows in (_ROWS, _WIDTH))
    expected = (functional.linear(x, weight) + x).float()
    try:
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, _ROWS)  # noqa: SLF001 - the only way to oneDNN's products
        got = torch.ops.mkldnn._linear_pointwise.binary(x, x, packed, None, "add").float()  # noqa: SLF001 - as above
    except (AttributeError, NotImplementedError, RuntimeError):
        return False
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    return bool((got - expected).norm() <= tolerance * expected.norm())


@functools.cache
def multiplies_int8() -> bool:
    """Return whether torch sums products of 8-bit integers exactly.

    On x86 without VNNI, oneDNN adds pairs of products in 16 bits, where large ones overflow.
    """
    largest = torch.full((_ROWS, _ROWS), 127, dtype=torch.int8)
    try:
        product = torch._int_mm(largest, largest)  # noqa: SLF001 - torch has no public name for it
    except (AttributeError, NotImplementedError, RuntimeError):
        return False
    return bool((product == _ROWS * 127 * 127).all())


def _supports(where: object, name: str, *, unknown: bool) -> bool:
    """Ask torch whether the processor has a feature; return `unknown` where torch cannot tell."""
    try:
        return bool(getattr(where, name)())
    except (AttributeError, NotImplementedError, RuntimeError):
        return unknown
