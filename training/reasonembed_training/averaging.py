"""Weights between a base and what training made of it: they often keep more of what the base could do."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from reasonembed_training.checkpoint import set_weights, trained_weights

__all__ = ["average_with_base"]


def average_with_base(module: nn.Module, share: float, *, base: Callable[[], Mapping[str, Tensor]]) -> None:
    """Move the trained weights back towards the base's, in place: share * base + (1 - share) * trained.

    An adapter's change is scaled by 1 - share, which is the same; only else is `base` asked for the weights that
    training began with. Every process calls it. Source: weight-space ensembles, arXiv 2109.01903.
    """
    trained = trained_weights(module)
    adapter = {name for name in trained if ".lora_" in name}
    first = base() if trained.keys() - adapter else {}
    averaged = dict(trained)
    for name, weight in trained.items():
        if name not in adapter:
            averaged[name] = weight.lerp(first[name].to(weight.dtype), share)
        elif ".lora_B." in name:
            averaged[name] = weight * (1 - share)
    set_weights(averaged, module)
