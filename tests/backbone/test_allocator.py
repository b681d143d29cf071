"""The memory of long calls: compiled kernels are bounded whatever sizes a process multiplies."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest
import torch

from reasonembed_rag.backbone import prepacks

_PROBE = """
import ctypes
import torch
from reasonembed_rag.backbone import OneDnnLinear, bound_kernel_cache

class Heap(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks used".split()]
    _fields_ += [("free", ctypes.c_size_t), ("top", ctypes.c_size_t)]

library = ctypes.CDLL(None)
library.mallinfo2.restype = Heap
bound_kernel_cache()
linear = OneDnnLinear(torch.randn(64, 64), None)
used = []
with torch.inference_mode():
    for rows in range(2, 302):
        linear(torch.ones(rows, 64))
        used.append(library.mallinfo2().used)
print(used[-1] - used[99])
"""


@pytest.mark.skipif(not prepacks(torch.float32), reason="torch has no prepacked products here")
@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="needs glibc 2.33 to measure the heap")
def test_products_of_ever_new_sizes_keep_no_more_kernels() -> None:
    """Two hundred more sizes kept 50 MB more before the second cache was bounded."""
    done = subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 5 * 2**20
