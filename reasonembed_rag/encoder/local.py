"""The engine of this process on torch: one device, packed where it can be."""

from __future__ import annotations

import copy
import dataclasses
import functools
import logging
import os
from collections import OrderedDict
from typing import TYPE_CHECKING

import torch

from reasonembed_rag.backbone import (
    FLOORS,
    PLAIN,
    AdapterSwitch,
    PackedForward,
    PaddedForward,
    PlainDecoder,
    RowVectors,
    UnsupportedError,
    bound_kernel_cache,
    disagreement,
    finish,
    give_back_freed,
    is_verified,
    make_fast,
    read_blueprint,
    remember_verified,
    self_check_sequences,
    split_halfway,
)
from reasonembed_rag.errors import BackendError, InputError, ModelError, want_one_of
from reasonembed_rag.forks import run_in_own_thread

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from reasonembed_rag.backbone import KeyValue, LoadedModel, Tokens

__all__ = ["LocalEngine", "padded_forward"]

_logger = logging.getLogger(__name__)

_PACKS_BETWEEN_TRIMS = 2
_MAX_PREFIXES = 8
_MIN_PREFIX = 4
"""A shorter common prefix costs less to compute again than to reuse."""


class LocalEngine:
    """Compute in this process, on one device.

    Raises UnsupportedError for a decoder without transformers that the packed forward does not run.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        bound_kernel_cache()
        self._spec = loaded.spec
        self._switch = AdapterSwitch(loaded.modules, loaded.adapters)
        self._names = tuple(loaded.adapters)
        packed, reason = _packed(loaded, self._switch)
        if packed is None and loaded.modules is not loaded.backbone:
            loaded = dataclasses.replace(loaded, modules=loaded.backbone)
            self._switch = AdapterSwitch(loaded.modules, loaded.adapters)
            packed, reason = _packed(loaded, self._switch)
        if packed is None and isinstance(loaded.modules, PlainDecoder):
            raise UnsupportedError(reason)
        if packed is None and self._names:
            raise ModelError(
                f"{loaded.spec.model}: adapters by name need the packed forward ({reason}); load one adapter"
            )
        if packed is None and loaded.spec.dtype == "int8":
            raise ModelError(f"{loaded.spec.model}: it cannot run in int8 ({reason}); want dtype='float32'")
        if packed is None:
            _logger.warning("%s runs through transformers' own forward: %s", loaded.spec.model, reason)
        self.packed = packed is not None
        """Whether the packed forward runs; otherwise the backbone is unknown or failed the self-check."""
        self._forward: PackedForward | PaddedForward | None = packed or _checked_padded(loaded)
        self._prefixes: OrderedDict[tuple[bytes, str | None], list[KeyValue]] = OrderedDict()
        """Keys and values of common prefixes, by token ids and adapter, the least recently used first."""
        self._safe_tokens: int | None = None
        """Largest pack assumed to fit, once one has run out of memory."""
        self._device = loaded.backbone.device.type
        self._process = os.getpid()

    def run(self, tokens: Tokens, packs: Sequence[NDArray[np.int64]], *, adapter: str | None) -> Iterator[RowVectors]:
        """Yield the vectors of the packs in order; a pack that does not fit in memory is split."""
        if adapter is not None and adapter not in self._names:
            raise InputError(f"unknown adapter {adapter!r}; {want_one_of(adapter, self._names)}")
        if self._device != "cpu" and self._process != os.getpid():
            raise BackendError(
                f"{self._spec.model} was loaded on {self._device} before a fork, and a forked child cannot use the "
                "device: start the child by spawn or forkserver, or load the model in the child only"
            )
        self._switch.active = adapter
        waiting = [pack for pack in reversed(packs) if len(pack)]
        computed = 0
        while waiting:
            rows = waiting.pop()
            if self._too_large(rows, tokens) and len(rows) > 1:
                waiting += [rows[len(rows) // 2 :], rows[: len(rows) // 2]]
                continue
            try:
                vectors = run_in_own_thread(functools.partial(self._vectors, rows, tokens, adapter))
            except (torch.OutOfMemoryError, RuntimeError, MemoryError) as error:
                self._shrink(rows, tokens, error)
                waiting.append(rows)
                continue
            computed += 1
            if computed % _PACKS_BETWEEN_TRIMS == 0:
                give_back_freed()
            yield RowVectors(rows, vectors)

    def close(self) -> None:
        """Drop the model."""
        self._forward = None
        self._prefixes.clear()

    def _vectors(self, rows: NDArray[np.int64], tokens: Tokens, adapter: str | None) -> NDArray[np.float32]:
        spec = self._spec
        skip = 0 if spec.pool_prompt else tokens.skip
        with torch.inference_mode():
            pooled = self._pooled(tokens.rows(rows), skip, tokens.shared, adapter)
            vectors = finish(pooled, dimension=spec.dimension, normalize=spec.normalize)
        result: NDArray[np.float32] = vectors.cpu().numpy()
        return result

    def _pooled(self, sequences: Sequence[NDArray[np.int32]], skip: int, shared: int, adapter: str | None) -> Tensor:
        """Return pooled states (n, D); the keys and values of the `shared` common first tokens are computed once."""
        forward = self._forward
        if forward is None:
            raise BackendError(f"the encoder of {self._spec.model} is closed; build a new one with from_pretrained")
        if (
            not isinstance(forward, PackedForward)
            or shared < _MIN_PREFIX
            or not (forward.shares_prefixes and forward.pools_last)
        ):
            return forward(sequences, skip=skip)
        prefix = self._prefix(forward, sequences[0][:shared], adapter)
        return forward([sequence[shared:] for sequence in sequences], prefix=prefix)

    def _prefix(self, forward: PackedForward, ids: NDArray[np.int32], adapter: str | None) -> list[KeyValue]:
        key = (ids.tobytes(), adapter)
        if key not in self._prefixes:
            self._prefixes[key] = forward.prefix(ids)
            while len(self._prefixes) > _MAX_PREFIXES:
                self._prefixes.popitem(last=False)
        self._prefixes.move_to_end(key)
        return self._prefixes[key]

    def _too_large(self, rows: NDArray[np.int64], tokens: Tokens) -> bool:
        return self._safe_tokens is not None and int(tokens.lengths[rows].sum()) > self._safe_tokens

    def _shrink(self, rows: NDArray[np.int64], tokens: Tokens, error: Exception) -> None:
        """Lower the budget after running out of memory; reraise any other error."""
        if not _is_out_of_memory(error):
            raise error
        size = int(tokens.lengths[rows].sum())
        if len(rows) == 1:
            raise BackendError(
                f"one text of {size} tokens does not fit in memory; "
                "want a smaller max_document_length, a smaller dtype or a larger device"
            ) from error
        self._safe_tokens = size // 2
        _logger.warning("out of memory at %d tokens per pack; continuing with at most %d", size, self._safe_tokens)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def padded_forward(loaded: LoadedModel) -> PaddedForward:
    """Return the reference forward of a loaded model."""
    return PaddedForward(
        loaded.backbone,
        pooling=loaded.spec.pooling,
        pad_id=loaded.pad_id,
        own_mask=loaded.needs_own_mask,
        segments=loaded.segments,
    )


def _checked_padded(loaded: LoadedModel) -> PaddedForward:
    """Return the reference forward after a trial run; raises ModelError where that fails."""
    padded = padded_forward(loaded)
    try:
        with torch.inference_mode():
            padded(self_check_sequences(loaded.tokenizer, loaded.spec)[:1])
    except Exception as error:
        reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        raise ModelError(
            f"{loaded.spec.model}: transformers cannot run a text through {type(loaded.backbone).__name__} ({reason}); "
            "want a text encoder or decoder"
        ) from error
    return padded


def _exact_forward(loaded: LoadedModel) -> PaddedForward:
    """Return the reference forward over a copy of the weights in float32."""
    return padded_forward(dataclasses.replace(loaded, backbone=copy.deepcopy(loaded.backbone).float()))


def _packed(loaded: LoadedModel, switch: AdapterSwitch) -> tuple[PackedForward | None, str]:
    """Return the packed forward if it fits the backbone and agrees with transformers, else the reason."""
    spec, int8 = loaded.spec, loaded.spec.dtype == "int8"
    causal = spec.attention == "causal"
    make = functools.partial(switch.make, int8=int8) if loaded.adapters else functools.partial(make_fast, int8=int8)
    try:
        blueprint = read_blueprint(loaded.modules, causal=causal, make=make, segments=loaded.segments)
        packed = PackedForward(blueprint, pooling=spec.pooling)
    except UnsupportedError as error:
        return None, str(error)
    device = loaded.backbone.device.type + (PLAIN if isinstance(loaded.modules, PlainDecoder) else "")
    device += " segments" if loaded.segments else ""
    if is_verified(spec, device=device):
        return packed, ""
    sequences = self_check_sequences(loaded.tokenizer, spec)
    sequences = split_halfway(sequences) if loaded.segments else sequences
    exact = functools.partial(_exact_forward, loaded) if spec.dtype in {"bfloat16", "float16"} else None
    reason = disagreement(packed, padded_forward(loaded), sequences, floor=FLOORS[spec.dtype], exact=exact)
    if reason is not None:
        return None, reason
    remember_verified(spec, device=device)
    return packed, ""


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    text = str(error).lower()
    return any(words in text for words in ("out of memory", "can't allocate memory", "not enough memory"))
