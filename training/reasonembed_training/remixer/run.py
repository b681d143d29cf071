"""Run the seven stages one after the other; each is finished once and resumed where it was interrupted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from reasonembed_rag.errors import TrainingError
from reasonembed_rag.llm import FAILED, OVER_CONTEXT, ChatModel, ResponseCache, TokenUsage
from reasonembed_training.remixer.cards import load_card
from reasonembed_training.remixer.config import MODEL_STAGES, STAGES, RemixConfig, Stage, write_settings
from reasonembed_training.remixer.corpus import open_pool
from reasonembed_training.remixer.folder import RunFolder, StageState, digest_of
from reasonembed_training.remixer.mining import MakeRetriever
from reasonembed_training.remixer.stages import RemixCallback, StageProgress, Stages
from reasonembed_training.remixer.watching import Approve

__all__ = ["remix"]


def remix(
    config: RemixConfig,
    *,
    models: Mapping[str, ChatModel],
    make_retriever: MakeRetriever,
    until: Stage = "rows",
    callback: RemixCallback | None = None,
    approve: Approve | None = None,
) -> dict[Stage, StageState]:
    """Make training rows, up to a stage; finished stages in the run's folder are not run again.

    Every answer is cached before it is used, so a run that was killed continues where it was and pays for nothing
    twice. A stage stops where most of its first config.pilot answers are unusable; with `approve` it is shown them and
    decides instead. Raises InputError or TrainingError for a corpus, card or folder that cannot be used and for a stage
    that leaves no records, ChatError for a stage that stopped and where a model cannot be called, StoreError where the
    response cache cannot be written; cached answers are kept.
    """
    wanted = STAGES[: STAGES.index(until) + 1]
    missing = [stage for stage in MODEL_STAGES if stage in wanted and config.asks(stage) and stage not in models]
    if missing:
        raise TrainingError(f"no chat model for {', '.join(missing)}; want one for each of these stages")
    card = load_card(config.card)
    if config.out.exists() and not config.out.is_dir():
        raise TrainingError(f"{config.out}: is a file; want the path of a folder")
    pool = open_pool(config, card=card.name)
    folder = RunFolder(config.out)
    with folder.open_cache(corpus=pool.digest) as cache:
        used = {stage: model.settings for stage, model in models.items()}
        write_settings(replace(config, models={**config.models, **used}))
        stages = Stages(
            config, card, pool, folder, cache=cache, models=models, make_retriever=make_retriever, approve=approve
        )
        states: dict[Stage, StageState] = {}
        for stage in wanted:
            states[stage] = _finish(stage, stages, callback, cache, models)
        return states


def _finish(
    stage: Stage, stages: Stages, callback: RemixCallback | None, cache: ResponseCache, models: Mapping[str, ChatModel]
) -> StageState:
    """Run a stage unless it is finished; raises TrainingError where it leaves no records."""
    folder, inputs = stages.folder, digest_of(stages.inputs(stage))
    found = folder.finished(stage, inputs=inputs)
    if found is not None and stages.config.calls.retry_failed and {FAILED, OVER_CONTEXT} & found.drops.keys():
        found = None
    state = found
    if state is None:
        if callback is not None:
            callback.begin(stage, total=stages.total(stage))
        progress = StageProgress(callback)
        state = folder.write(stage, stages.outcomes(stage, progress), inputs=inputs)
        if stage in models:
            state = replace(state, spent=_spent(stage, models[stage], cache), failure=progress.stats.last_failure)
        folder.note(stage, state)
    if callback is not None:
        callback.end(stage, state, kept=found is not None)
    if not state.records and stage not in {"clean", "reason"}:
        raise _nothing_left(stage, state if stage != "sources" else folder.states()["clean"], folder)
    return state


def _nothing_left(stage: Stage, state: StageState, folder: RunFolder) -> TrainingError:
    """Return the error of a stage without records, by the state of the stage that caused it."""
    what = f"stage {stage!r} left nothing; dropped were {dict(state.drops) or 'none'}"
    if state.retryable and state.failure:
        return TrainingError(f"{what}, the last with: {state.failure}; fix that and run the same command again")
    return TrainingError(
        f"{what}: look at the answers in {folder.cache_file}, then change the card, the model or the settings"
    )


def _spent(stage: Stage, model: ChatModel, cache: ResponseCache) -> TokenUsage:
    """Return the usage of all runs in this folder for a stage and its model."""
    spent = cache.usage(stage=stage, model=model.settings.name)
    return replace(spent, cost=model.settings.cost(input_tokens=spent.input_tokens, output_tokens=spent.output_tokens))
