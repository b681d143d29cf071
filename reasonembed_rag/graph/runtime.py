"""Import ONNX Runtime without its telemetry."""

from __future__ import annotations

import os
from typing import Any

__all__ = ["onnx_runtime"]

_SWITCH = "ORT_DISABLE_TELEMETRY"


def onnx_runtime() -> Any:
    """Return the module onnxruntime, which then sends nothing to anyone.

    Its wheels (1.32 for Linux, for one) otherwise keep an identifier of the device in the user's cache and send events
    of every session to Microsoft. The import begins with it, so the environment variable is set before; where other
    code was first, no event is sent from here on. A variable that is 0 is the user's consent and stays.
    """
    asked = os.environ.setdefault(_SWITCH, "1")
    import onnxruntime

    if asked != "0":
        onnxruntime.disable_telemetry_events()
    return onnxruntime
