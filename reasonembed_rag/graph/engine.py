"""The engine on ONNX Runtime: packs as small batches of similar length, one a thread where there are many."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from reasonembed_rag.backbone import RowVectors
from reasonembed_rag.errors import BackendError, InputError, ModelError
from reasonembed_rag.graph.cache import open_graph, written_once
from reasonembed_rag.graph.check import check_graph, int8_graph
from reasonembed_rag.graph.forward import batches, embed, padded
from reasonembed_rag.graph.products import Products
from reasonembed_rag.graph.session import GraphSessions, in_threads, session_options, thread_count
from reasonembed_rag.graph.writing import supports, write_graph

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from reasonembed_rag.backbone import Tokens
    from reasonembed_rag.graph.session import GraphSession
    from reasonembed_rag.graph.weights import EncoderWeights

__all__ = ["OnnxEngine"]

_NO_ROWS = np.empty(0, np.int64)


class OnnxEngine:
    """Compute on this machine's CPU through ONNX Runtime, in float32 or with most products in int8.

    Raises ModelError for a model that it cannot run, for weights that do not fit config.json, for vectors that are not
    those of transformers and for a model that int8 would change too much.
    """

    def __init__(self, weights: EncoderWeights, *, dtype: str) -> None:
        reason = supports(weights.config)
        if reason is None and dtype not in {"float32", "int8"}:
            reason = f"dtype is {dtype!r}"
        if reason is not None:
            raise ModelError(
                f"{weights.spec.model}: backend='onnx' cannot run it ({reason}); want backend='torch', "
                "which pip install 'reasonembed-rag[torch]' brings"
            )
        self._spec, self._pad_id = weights.spec, weights.pad_id
        self._threads = thread_count()
        write = (
            functools.partial(int8_graph, weights, options=functools.partial(session_options, threads=self._threads))
            if dtype == "int8"
            else functools.partial(write_graph, weights, Products())
        )
        reopen = written_once(functools.partial(open_graph, weights, dtype=dtype, write=write))
        sessions = GraphSessions(reopen, threads=self._threads)
        check_graph(weights, sessions.of(threads=self._threads), dtype=dtype)
        self._sessions: GraphSessions | None = sessions

    def run(self, tokens: Tokens, packs: Sequence[NDArray[np.int64]], *, adapter: str | None) -> Iterator[RowVectors]:
        """Yield the vectors of the packs, which are sorted by length, a few rows at a time."""
        if adapter is not None:
            raise InputError(f"unknown adapter {adapter!r}; adapters by name need backend='torch'")
        skip = 0 if self._spec.pool_prompt else tokens.skip
        lengths = tokens.lengths
        largest = max((len(pack) * int(lengths[pack].max()) for pack in packs if len(pack)), default=0)
        parts = batches(np.concatenate([_NO_ROWS, *packs]), lengths, most=largest)
        session, workers = self._session_for(parts, lengths, lengths)

        def embedded(rows: NDArray[np.int64]) -> RowVectors:
            return RowVectors(rows, embed(session, tokens.rows(rows), self._spec, pad_id=self._pad_id, skip=skip))

        return in_threads(embedded, parts, workers=workers)

    def token_states(
        self, sequences: Sequence[NDArray[np.int32]], attended: Sequence[int]
    ) -> list[NDArray[np.float32]]:
        """Return the state (L, D) of every token of each sequence, of which only the first ones are attended to.

        The model's pooling must be another than cls, whose graph leaves the other states out.
        """
        lengths = np.asarray([len(sequence) for sequence in sequences], np.int64)
        parts = batches(np.argsort(-lengths, kind="stable"), lengths)
        session, workers = self._session_for(parts, lengths, np.asarray(attended, np.int64))

        def states(rows: NDArray[np.int64]) -> NDArray[np.float32]:
            ids_BS = padded([sequences[row] for row in rows], pad_id=self._pad_id)
            return session(ids_BS, np.asarray([attended[row] for row in rows], np.int32))

        found: list[NDArray[np.float32]] = [np.empty((0, 0), np.float32)] * len(sequences)
        for rows, states_BSD in zip(parts, in_threads(states, parts, workers=workers), strict=True):
            for row, states_SD in zip(rows, states_BSD, strict=True):
                found[row] = states_SD[: lengths[row]]
        return found

    def close(self) -> None:
        """Drop the model."""
        self._sessions = None

    def _session_for(
        self, parts: Sequence[NDArray[np.int64]], lengths: NDArray[np.int64], attended: NDArray[np.int64]
    ) -> tuple[GraphSession, int]:
        """Return a session for batches of rows, and how many to run side by side; padding is not attended to."""
        if self._sessions is None:
            raise BackendError(f"the encoder of {self._spec.model} is closed; build a new one with from_pretrained")
        if len(parts) == 1 or 2 * len(parts) < self._threads:
            even = all(attended[rows].min() == lengths[rows].max() for rows in parts)
            return self._sessions.of(threads=self._threads, even=even), 1
        return self._sessions.of(threads=1), min(len(parts), self._threads)
