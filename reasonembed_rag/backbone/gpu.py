"""Whether there is a GPU, asked of torch only where there may be one, since importing it takes seconds."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

__all__ = ["has_gpu"]

_DRIVERS = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/dev/kfd", r"C:\Windows\System32\nvcuda.dll")
"""What the drivers of NVIDIA (also under WSL) and AMD leave in the file system."""


def has_gpu() -> bool:
    """Return whether torch is installed and has a GPU that it calls cuda."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") == "" or find_spec("torch") is None:
        return False
    if not any(Path(driver).exists() for driver in _DRIVERS):
        return False
    import torch

    return torch.cuda.is_available()
