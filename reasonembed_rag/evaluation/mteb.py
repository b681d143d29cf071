"""Use an embedder as an MTEB model: `mteb.evaluate(MtebModel(encoder), tasks)`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.errors import InputError, MissingDependencyError
from reasonembed_rag.evaluation.metrics import CUTOFFS
from reasonembed_rag.evaluation.report import Report
from reasonembed_rag.files import write_text
from reasonembed_rag.protocols import Embedder
from reasonembed_rag.tasks import BRIGHT_TASKS, get_task

__all__ = ["MtebModel", "mteb_result", "mteb_task_name", "task_of_mteb", "write_mteb_result"]


class _TaskMetadata(Protocol):
    """The part of MTEB's TaskMetadata that is read."""

    @property
    def name(self) -> str: ...
    @property
    def prompt(self) -> str | Mapping[str, str] | None: ...


class MtebModel:
    """An embedder as an MTEB model: queries get their task's instruction, all other texts are encoded as documents.

    The instruction is that of the task's card for BRIGHT and MTEB's own query prompt for other tasks, if the model
    takes one. `name` is shown on the leaderboard, "organisation/model". The revision is the spec's, else its digest, so
    that MTEB's cache distinguishes two settings of one model.
    """

    def __init__(self, embedder: Embedder, *, name: str | None = None) -> None:
        self._embedder = embedder
        spec = embedder.spec
        self.name = name or (spec.model if spec.model.count("/") == 1 else f"reasonembed/{spec.model.rsplit('/')[-1]}")
        if self.name.count("/") != 1:
            raise InputError(f"name is {self.name!r}; want 'organisation/model'")

    @property
    def mteb_model_meta(self) -> Any:
        """MTEB's ModelMeta; raises MissingDependencyError without mteb."""
        try:
            models = import_module("mteb.models")
        except ImportError as error:
            package, extra = "mteb", "mteb"
            raise MissingDependencyError(package, extra) from error
        spec = self._embedder.spec
        return models.ModelMeta.create_empty(
            overwrites={
                "name": self.name,
                "revision": spec.revision or spec.digest(),
                "max_tokens": spec.max_document_length,
                "embed_dim": spec.dimension,
                "similarity_fn_name": "cosine" if spec.normalize else "dot",
                "use_instructions": spec.takes_instruction,
            }
        )

    def encode(
        self,
        inputs: Iterable[Mapping[str, Any]],
        *,
        task_metadata: _TaskMetadata,
        hf_split: str,  # noqa: ARG002  # MTEB passes it by name
        hf_subset: str,  # noqa: ARG002  # MTEB passes it by name
        prompt_type: object = None,
        show_progress_bar: bool = False,
        **_batching: Any,
    ) -> NDArray[np.float32]:
        """Return float32 vectors (n, dimension) of the texts of MTEB's batches, in their order.

        MTEB's batch size and loader settings are ignored: the embedder batches by itself.
        """
        texts = [text for batch in inputs for text in batch["text"]]
        if getattr(prompt_type, "value", prompt_type) != "query":
            return self._embedder.encode_documents(texts, show_progress=show_progress_bar)
        instruction = _instruction(task_metadata) if self._embedder.spec.takes_instruction else None
        return self._embedder.encode_queries(texts, instruction=instruction, show_progress=show_progress_bar)

    def similarity(self, first: Any, second: Any) -> NDArray[np.float32]:
        """Return inner products (n, m) of vectors (n, D) and (m, D)."""
        return np.asarray(np.atleast_2d(_array(first)) @ np.atleast_2d(_array(second)).T)

    def similarity_pairwise(self, first: Any, second: Any) -> NDArray[np.float32]:
        """Return inner products (n,) of two arrays (n, D), row by row."""
        return np.asarray(np.sum(np.atleast_2d(_array(first)) * np.atleast_2d(_array(second)), axis=1))


def _instruction(task: _TaskMetadata) -> str | None:
    name = task_of_mteb(task.name)
    if name is not None:
        return get_task(name).instruction
    prompt = task.prompt
    return prompt.get("query") if isinstance(prompt, Mapping) else prompt


def _array(vectors: Any) -> NDArray[np.float32]:
    """Return vectors as an array; MTEB may pass torch tensors."""
    return np.asarray(vectors, dtype=np.float32)


_IRREGULAR = {"theoremqa_questions": "TheoremQAQuestions", "theoremqa_theorems": "TheoremQATheorems"}
_CAMEL = {name: _IRREGULAR.get(name, name.title().replace("_", "")) for name in BRIGHT_TASKS}


def mteb_task_name(name: str, *, long: bool = False) -> str | None:
    """Return MTEB's name (v1.1) of a BRIGHT task; None for any other."""
    camel = _CAMEL.get(name.removeprefix("bright_"))
    return f"Bright{camel}{'Long' if long else ''}Retrieval" if camel else None


def task_of_mteb(name: str) -> str | None:
    """Return the BRIGHT task that MTEB calls by this name; None for any other."""
    return next(
        (task for task in BRIGHT_TASKS for long in (False, True) if mteb_task_name(task, long=long) == name), None
    )


_MTEB_NAMES = {"nDCG": "ndcg", "MAP": "map", "recall": "recall", "P": "precision"}


def mteb_result(report: Report) -> dict[str, Any]:
    """Return a report as the fields of MTEB's TaskResult: the main score is nDCG@10, recall@1 for long documents.

    Measures are means over every judged query. Other tasks than BRIGHT's keep their names. mteb_version is empty:
    the scores are computed here, equal to those of BRIGHT's official harness.
    """
    means = report.mean_all
    scores = {f"{mteb_name}_at_{k}": means[f"{name}@{k}"] for name, mteb_name in _MTEB_NAMES.items() for k in CUTOFFS}
    usage, latency = report.usage, report.latency
    seconds = (usage.encoding_seconds or 0.0) if usage else 0.0
    seconds += latency.p50 * report.task.queries if latency else 0.0
    return {
        "dataset_revision": report.task.revision or "local",
        "task_name": mteb_task_name(report.task.name, long=report.task.long) or report.task.name,
        "mteb_version": None,
        "scores": {
            _split(report): [
                {
                    **scores,
                    f"mrr_at_{report.k}": means["MRR"],
                    "main_score": means["recall@1" if report.task.long else "nDCG@10"],
                    "hf_subset": "default",
                    "languages": ["eng-Latn"],
                }
            ]
        },
        "evaluation_time": seconds or None,
        "kg_co2_emissions": None,
    }


def write_mteb_result(report: Report, path: Path) -> None:
    """Write a report in MTEB's layout, atomically; raises InputError where it cannot be written."""
    write_text(f"{json.dumps(mteb_result(report), indent=2)}\n", path)


def _split(report: Report) -> str:
    """Return the split's name; MTEB calls BRIGHT's splits standard and long."""
    if mteb_task_name(report.task.name) is not None:
        return "long" if report.task.long else "standard"
    return report.task.split or "test"
