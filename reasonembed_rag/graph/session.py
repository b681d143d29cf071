"""Sessions of ONNX Runtime: threads that leave cores to others, and a life after a fork.

Many batches are run side by side, each by one thread of a session without threads of its own: nothing waits for
anything, neither for the slowest thread of every operator nor, where other processes are busy, for one that lost its
core. A single batch is divided among all threads, whose patience docs/experiments/two-engines.md measures; the module
cores says where they run.
"""

from __future__ import annotations

import functools
import os
import re
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from reasonembed_rag.forks import ForkLock, make_immortal, renew_in_child
from reasonembed_rag.graph.cores import WorkerCores, core_for_each
from reasonembed_rag.graph.runtime import onnx_runtime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future

    import numpy as np
    from numpy.typing import NDArray

    from reasonembed_rag.graph.cache import OpenGraph

__all__ = ["GraphSession", "GraphSessions", "in_threads", "run_session", "session_options", "thread_count"]

_SPIN_MICROSECONDS = 50
"""How long a thread that waits for the next operator of a call keeps its core: longer would rob busy neighbours."""

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def thread_count() -> int:
    """Return how many threads may compute: $OMP_NUM_THREADS, or the cores of this process."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return int(asked) if asked.isdigit() and int(asked) > 0 else cores


def session_options(*, threads: int, cores: Sequence[int] = ()) -> Any:
    """Return the settings of a session: the graph is fused already, and idle threads leave their cores to others.

    cores: one for each thread but the caller's, or none.
    """
    onnxruntime = onnx_runtime()

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    settings = {"intra_op.allow_spinning": "0"}
    if threads > 1 and _can_limit_spinning(onnxruntime.__version__):
        settings = {"intra_op.allow_spinning": "1", "intra_op.spin_duration_us": str(_SPIN_MICROSECONDS)}
        settings["force_spinning_stop"] = "1"
    if cores:
        settings["intra_op_thread_affinities"] = ";".join(str(core + 1) for core in cores)  # counted from 1
    for name, value in settings.items():
        options.add_session_config_entry(f"session.{name}", value)
    return options


def _can_limit_spinning(version: str) -> bool:
    """Return whether a released ONNX Runtime can limit how long its threads spin; without a limit they do not here."""
    release = re.fullmatch(r"(\d+)\.(\d+)(\.\d+)*(\+.*)?", version)
    return release is not None and (int(release[1]), int(release[2])) >= (1, 26)


class GraphSession:
    """Run one graph; a forked child opens it again, as threads do not come through a fork.

    `even`: it takes batches without padding only.
    """

    def __init__(self, reopen: Callable[..., OpenGraph], *, threads: int, even: bool) -> None:
        self._reopen, self._threads = functools.partial(reopen, even=even), threads
        self._opened: tuple[OpenGraph, WorkerCores] | None = None
        self._open()
        renew_in_child(self)

    def _open(self) -> tuple[OpenGraph, WorkerCores]:
        cores = core_for_each(self._threads)
        graph = self._reopen(options=functools.partial(session_options, threads=self._threads, cores=cores[1:]))
        self._opened = opened = graph, WorkerCores(cores, begun=graph.threads)
        return opened

    def renew_after_fork(self) -> None:
        """Forget the parent's session, whose threads are gone and would be waited for."""
        if self._opened is not None:
            make_immortal(self._opened)
            self._opened = None

    def __call__(self, ids_BS: NDArray[np.int32], lengths_B: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return the states (B, L, D) of right-padded sequences of token ids."""
        graph, cores = self._opened or self._open()
        return cores.call(run_session, graph, ids_BS, lengths_B)


class GraphSessions:
    """Sessions of one graph by how many threads divide a batch: the widest is opened now, others at their first use.

    A session with one thread takes any batch; those with several are of two kinds, since choosing masks takes time.
    """

    def __init__(self, reopen: Callable[..., OpenGraph], *, threads: int) -> None:
        self._reopen = reopen
        self._opening = ForkLock()
        self._opened: dict[tuple[int, bool], GraphSession] = {}
        self.of(threads=threads)

    def of(self, *, threads: int, even: bool = True) -> GraphSession:
        """Return the session with this number of threads; with several it takes batches without padding, if `even`."""
        even = even and threads > 1
        with self._opening:
            if (threads, even) not in self._opened:
                self._opened[threads, even] = GraphSession(self._reopen, threads=threads, even=even)
            return self._opened[threads, even]


def in_threads(run: Callable[[_Item], _Result], items: Sequence[_Item], *, workers: int) -> Iterator[_Result]:
    """Yield the results in order, some computed side by side and few of them ahead."""
    if workers == 1:
        yield from map(run, items)
        return
    with ThreadPoolExecutor(workers, thread_name_prefix="reasonembed-graph") as pool:
        waiting: deque[Future[_Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(run, item))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def run_session(opened: OpenGraph, ids_BS: NDArray[np.int32], lengths_B: NDArray[np.int32]) -> NDArray[np.float32]:
    """Return the states (B, L, D) of right-padded sequences of token ids."""
    states: NDArray[np.float32] = opened.session.run(None, {"ids": ids_BS, "lengths": lengths_B})[0]
    return states
