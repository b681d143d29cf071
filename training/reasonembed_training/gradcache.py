"""Gradient caching: the gradient of a large batch in the memory of one chunk (GradCache, arXiv 2101.06983).

All rows are embedded without graph, the objective is computed over all embeddings at once, and its gradient with
respect to them is back-propagated into the model chunk by chunk. Before a chunk is embedded again, the random state of
its first pass is restored, so that dropout drops the same units. One chunk keeps its graph from the first pass, since
its memory is needed anyway: it is embedded once instead of twice, and a batch of one chunk costs no more than without
caching.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reasonembed_rag.errors import InputError

__all__ = ["EmbedRows", "HasLoss", "cached_backward", "embed_detached"]

EmbedRows = Callable[[NDArray[np.int64]], Tensor]
"""Embed rows of the batch, (n,) row numbers to (n, D), in the current gradient mode."""


class HasLoss(Protocol):
    """The result of an objective."""

    @property
    def loss(self) -> Tensor:
        """The scalar to minimise."""


Result = TypeVar("Result", bound=HasLoss)


def cached_backward(
    embed: EmbedRows,
    plan: Sequence[NDArray[np.int64]],
    objective: Callable[[Tensor], Result],
    *,
    accumulate: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Result:
    """Add the gradient of objective(all embeddings).loss to the parameters of `embed`; return the objective's result.

    plan has each row 0..n-1 in exactly one chunk; its first chunk, which keeps its graph, should be among the largest.
    The objective gets the embeddings (n, D) in row order. Every chunk but the last to be back-propagated runs inside
    accumulate(), which is for a distributed wrapper's no_sync. Raises InputError for a plan that is not a partition; an
    error in the objective leaves the parameters' gradients unchanged.
    """
    _check(plan)
    kept, *others = plan
    with torch.no_grad():
        passes = [_first_pass(embed, rows) for rows in others]
    with accumulate() if others else nullcontext():
        kept_CD = embed(kept)
        vectors_ND = _assemble([(kept, kept_CD.detach()), *((one.rows, one.vectors) for one in passes)])
        result, gradient_ND = _gradient(objective, vectors_ND.requires_grad_())
        kept_CD.backward(gradient_ND[torch.from_numpy(kept)])
    for number, one in enumerate(passes, start=1):
        with accumulate() if number < len(passes) else nullcontext(), one.state.replayed():
            embed(one.rows).backward(gradient_ND[torch.from_numpy(one.rows)])
    return result


def embed_detached(embed: EmbedRows, plan: Sequence[NDArray[np.int64]]) -> Tensor:
    """Embed all rows of a plan chunk by chunk, detached; return (n, D) in row order."""
    _check(plan)
    with torch.no_grad():
        return _assemble([(rows, embed(rows)) for rows in plan])


@dataclass(frozen=True, slots=True)
class _RandomState:
    """The states of the random generators on the CPU and on the current GPU, from which dropout draws."""

    cpu: Tensor
    device: Tensor | None

    @classmethod
    def now(cls) -> _RandomState:
        return cls(torch.get_rng_state(), torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None)

    @contextmanager
    def replayed(self) -> Iterator[None]:
        """Restore the state inside the context; afterwards the generators are as before it."""
        devices = [] if self.device is None else [torch.cuda.current_device()]
        with torch.random.fork_rng(devices=devices):
            torch.set_rng_state(self.cpu)
            if self.device is not None:
                torch.cuda.set_rng_state(self.device)
            yield


@dataclass(frozen=True, slots=True)
class _FirstPass:
    """A chunk embedded without graph, and the random state before it."""

    rows: NDArray[np.int64]
    state: _RandomState
    vectors: Tensor


def _first_pass(embed: EmbedRows, rows: NDArray[np.int64]) -> _FirstPass:
    state = _RandomState.now()
    return _FirstPass(rows, state, embed(rows))


def _gradient(objective: Callable[[Tensor], Result], vectors_ND: Tensor) -> tuple[Result, Tensor]:
    """Return the objective's result and its gradient with respect to the embeddings, (N, D)."""
    result = objective(vectors_ND)
    result.loss.backward()
    if vectors_ND.grad is None:
        return result, torch.zeros_like(vectors_ND)
    return result, vectors_ND.grad


def _assemble(parts: Sequence[tuple[NDArray[np.int64], Tensor]]) -> Tensor:
    """Put the chunks' vectors in row order."""
    rows = np.concatenate([rows for rows, _ in parts])
    order = torch.from_numpy(np.argsort(rows)).to(parts[0][1].device)
    return torch.cat([vectors_CD for _, vectors_CD in parts]).index_select(0, order)


def _check(plan: Sequence[NDArray[np.int64]]) -> None:
    rows = np.sort(np.concatenate(plan)) if plan else np.empty(0, dtype=np.int64)
    if not len(rows) or not np.array_equal(rows, np.arange(len(rows))):
        raise InputError(f"the plan's {len(plan)} chunks have {len(rows)} rows; want each of 0..n-1 exactly once")
