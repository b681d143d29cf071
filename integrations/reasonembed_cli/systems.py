"""The systems that `reasonembed eval run` measures: a model, BM25, a hybrid, a saved index, or a component of yours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from reasonembed_cli.eval_index import open_index
from reasonembed_cli.framework_systems import component_retriever, load_component, open_through, through_of
from reasonembed_cli.pipelines import task_context
from reasonembed_rag.errors import InputError

if TYPE_CHECKING:
    from reasonembed_cli.progress import ProgressCallback
    from reasonembed_cli.system_choice import SystemChoice
    from reasonembed_rag.evaluation import RetrievalTask, System
    from reasonembed_rag.pipeline import PipelineSettings, StageContext
    from reasonembed_rag.protocols import Retriever
    from reasonembed_stores import IndexModel

__all__ = ["describe_system", "open_retriever", "open_task_context"]


def describe_system(choice: SystemChoice, task: RetrievalTask) -> System:
    """Describe the system for the report of a task; loads the model if there is one."""
    bare = _describe_retriever(choice, task)
    if choice.pipeline is None:
        return bare
    settings = dict(bare.settings) | {"pipeline": choice.pipeline.to_json()}
    return replace(bare, name=" | ".join((bare.name, *choice.pipeline.stages)), settings=settings)


def _describe_retriever(choice: SystemChoice, task: RetrievalTask) -> System:
    from reasonembed_rag.evaluation import System

    if choice.component is not None:
        return System(name=choice.component, through=through_of(load_component(choice.component)))
    bm25 = "BM25 query-side" if choice.kind == "bm25-query-side" else "BM25"
    settings: dict[str, str | int | float | bool | None]
    if choice.index is not None:
        with open_index(choice.index, _index_model(choice), task) as retriever:
            spec, settings = retriever.spec, {"instruction": retriever.instruction, "index": str(choice.index)}
        model, adapter = spec.model, spec.adapter
    elif choice.needs_model:
        spec, settings = choice.embedder.spec, {"instruction": choice.instruction(task)}
        model, adapter = choice.settings.model, choice.settings.adapter
    else:
        return System(name=bm25, settings={"k1": 0.9, "b": 0.4})
    if choice.through != "core":
        settings["store"] = choice.store
    if choice.kind == "hybrid":
        settings |= {"weight": choice.weight, "fusion": "scores"}
    name = " + ".join(filter(None, (model, adapter, bm25 if choice.kind == "hybrid" else None)))
    return System(name=name, through=choice.through, spec=spec, settings=settings)


@contextmanager
def open_retriever(
    choice: SystemChoice, task: RetrievalTask, *, on_progress: ProgressCallback | None = None
) -> Iterator[Retriever]:
    """Open the retriever of a task's documents, indexed, with the stages around it.

    `on_progress` is called with the progress of the encoding. Raises InputError for a task without documents, a
    component that cannot be imported, and stages that cannot be built.
    """
    if choice.pipeline is None:
        with _open_bare(choice, task, on_progress) as bare:
            yield bare
        return
    from reasonembed_rag.pipeline import Pipeline

    with open_task_context(choice.pipeline, choice, task) as context:
        stages = choice.pipeline.open(context)  # before the documents are encoded
        with _open_bare(choice, task, on_progress) as bare:
            yield Pipeline(bare, stages)


@contextmanager
def open_task_context(settings: PipelineSettings, choice: SystemChoice, task: RetrievalTask) -> Iterator[StageContext]:
    """Open what the stages need on a task, other retrievers over its documents as the system's is opened.

    Over an index the router is the one beside it.
    """
    from reasonembed_rag.pipeline import build_retriever
    from reasonembed_stores import router_beside

    def opened(name: str) -> Retriever:
        return build_retriever(name, task.documents, settings=choice.settings, cache=choice.cache)

    with task_context(settings, task, retrievers=opened) as context:
        yield context if choice.index is None else replace(context, router=router_beside(choice.index))


@contextmanager
def _open_bare(choice: SystemChoice, task: RetrievalTask, on_progress: ProgressCallback | None) -> Iterator[Retriever]:
    if not task.documents:
        raise InputError(f"task {task.name!r} has no documents to search; it can score run files: --run FILE")
    if choice.component is not None:
        yield component_retriever(load_component(choice.component), task.documents, use_async=choice.use_async)
    elif choice.index is not None:
        with open_index(choice.index, _index_model(choice), task) as index:
            yield _with_bm25(index, choice, task)
    elif choice.through != "core":
        with open_through(choice, task, on_progress) as dense:
            yield _with_bm25(dense, choice, task)
    else:
        from reasonembed_rag.pipeline import build_retriever

        yield build_retriever(
            choice.retriever_name,
            task.documents,
            settings=choice.settings,
            instruction=choice.instruction(task) if choice.needs_model else None,
            cache=choice.cache,
            progress=on_progress,
            model_weight=choice.weight,
            bm25_weight=1.0 - choice.weight,
        )


def _with_bm25(dense: Retriever, choice: SystemChoice, task: RetrievalTask) -> Retriever:
    """Return the retriever, fused with BM25 for a hybrid."""
    from reasonembed_rag.pipeline import Fusion, Weighted
    from reasonembed_rag.retrieval import BM25

    if choice.kind != "hybrid":
        return dense
    return Fusion([Weighted(dense, choice.weight), Weighted(BM25(task.documents), 1.0 - choice.weight)])


def _index_model(choice: SystemChoice) -> IndexModel:
    from reasonembed_stores import IndexModel

    settings = choice.settings
    return IndexModel(model=choice.index_model, device=settings.device, dtype=settings.dtype, backend=settings.backend)
