"""Rotary angles of the kinds that do not depend on a text's length: plain, linear, Llama 3's and YaRN."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

__all__ = ["RotarySteps", "knows_rotary", "rotary_steps"]

_ORIGINAL = "original_max_position_embeddings"
_NEEDED = {
    "default": (),
    "linear": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor", _ORIGINAL),
    "yarn": ("factor", _ORIGINAL),
}


class RotarySteps(NamedTuple):
    """Angles per position (width / 2), and what cosines and sines are multiplied by."""

    angles: Tensor
    factor: float


def knows_rotary(parameters: Mapping[str, Any]) -> bool:
    """Return whether rope_parameters, with a rope_type, are of a known kind and complete."""
    needed = _NEEDED.get(parameters["rope_type"])
    nested = any(isinstance(one, dict) for one in parameters.values())
    if needed is None or nested or "partial_rotary_factor" in parameters:
        return False
    if not all(isinstance(parameters.get(name), int | float) for name in ("rope_theta", *needed)):
        return False
    return needed != _NEEDED["llama3"] or parameters["low_freq_factor"] < parameters["high_freq_factor"]


def rotary_steps(parameters: Mapping[str, Any], *, width: int, device: torch.device) -> RotarySteps:
    """Return the steps of rope_parameters that knows_rotary accepts, for heads of a width."""
    exponents = torch.arange(0, width, 2, dtype=torch.float32, device=device) / width
    plain = 1.0 / parameters["rope_theta"] ** exponents
    kind = parameters["rope_type"]
    if kind == "linear":
        return RotarySteps(plain / parameters["factor"], 1.0)
    if kind == "llama3":
        return RotarySteps(_llama3(plain, parameters), 1.0)
    if kind == "yarn":
        return RotarySteps(_yarn(plain, parameters, width), _yarn_factor(parameters))
    return RotarySteps(plain, 1.0)


def _llama3(plain: Tensor, parameters: Mapping[str, Any]) -> Tensor:
    """Divide slow angles by the factor, leave fast ones, and interpolate between (Llama 3.1's release)."""
    low, high = parameters["low_freq_factor"], parameters["high_freq_factor"]
    turns = parameters[_ORIGINAL] * plain / (2 * math.pi)
    share: Tensor = ((turns - low) / (high - low)).clamp(0, 1)
    interpolated: Tensor = (1 - share) * plain / parameters["factor"] + share * plain
    return interpolated


def _yarn(plain: Tensor, parameters: Mapping[str, Any], width: int) -> Tensor:
    """Divide angles by the factor from the dimensions that turn less than once (arXiv 2309.00071, section 3.2)."""

    def dimension(turns: float) -> float:
        return (
            width * math.log(parameters[_ORIGINAL] / (turns * 2 * math.pi)) / (2 * math.log(parameters["rope_theta"]))
        )

    first, last = dimension(parameters.get("beta_fast") or 32), dimension(parameters.get("beta_slow") or 1)
    if parameters.get("truncate", True):
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, width - 1)
    if first == last:
        last += 0.001
    slow: Tensor = ((torch.arange(width // 2, device=plain.device) - first) / (last - first)).clamp(0, 1)
    interpolated: Tensor = plain / parameters["factor"] * slow + plain * (1 - slow)
    return interpolated


def _yarn_factor(parameters: Mapping[str, Any]) -> float:
    """Return the temperature of attention, as a factor of queries and keys (arXiv 2309.00071, equation 22)."""
    given = parameters.get("attention_factor")
    if given is not None:
        return float(given)
    above, below = parameters.get("mscale"), parameters.get("mscale_all_dim")

    def scale(weight: float) -> float:
        return 0.1 * weight * math.log(parameters["factor"]) + 1.0 if parameters["factor"] > 1 else 1.0

    return scale(above) / scale(below) if above and below else scale(1.0)
