"""A run: seven stages in a row, each finished once and taken up where it was left."""

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
from reasonembed_training.remixer.stages import Progress, Silent, Stages, Watcher

__all__ = ["remix"]


def remix(
    config: RemixConfig,
    *,
    models: Mapping[str, ChatModel],
    make_retriever: MakeRetriever,
    until: Stage = "rows",
    watcher: Watcher | None = None,
) -> dict[Stage, StageState]:
    """Make training rows by the settings, up to a stage; what the run's folder holds already is not made again.

    Every answer is cached before it is used, so a run that was killed continues where it was and pays for nothing
    twice. Raises InputError or TrainingError for a corpus, card or folder that cannot be used and for a stage that
    leaves nothing, ChatError where a model cannot be asked; cached answers are kept.
    """
    wanted = STAGES[: STAGES.index(until) + 1]
    missing = [stage for stage in MODEL_STAGES if stage in wanted and config.asks(stage) and stage not in models]
    if missing:
        raise TrainingError(f"no chat model for {', '.join(missing)}; want one for every stage, or for each of these")
    card = load_card(config.card)
    if config.out.exists() and not config.out.is_dir():
        raise TrainingError(f"{config.out}: is a file; want a folder for the run, or the name of a new one")
    pool = open_pool(config, card=card.name)
    folder = RunFolder(config.out)
    with folder.open_cache(corpus=pool.digest) as cache:
        used = {stage: model.settings for stage, model in models.items()}
        write_settings(replace(config, models={**config.models, **used}))
        stages = Stages(config, card, pool, folder, cache=cache, models=models, make_retriever=make_retriever)
        states: dict[Stage, StageState] = {}
        for stage in wanted:
            states[stage] = _finish(stage, stages, watcher or Silent(), cache, models)
        return states


def _finish(
    stage: Stage, stages: Stages, watcher: Watcher, cache: ResponseCache, models: Mapping[str, ChatModel]
) -> StageState:
    """Finish a stage, unless it is; raises TrainingError where it leaves nothing to go on with."""
    folder, inputs = stages.folder, digest_of(stages.inputs(stage))
    found = folder.finished(stage, inputs=inputs)
    if found is not None and stages.config.calls.retry_failed and {FAILED, OVER_CONTEXT} & found.drops.keys():
        found = None
    state = found
    if state is None:
        watcher.begin(stage, total=stages.total(stage))
        progress = Progress(watcher)
        state = folder.write(stage, stages.outcomes(stage, progress), inputs=inputs)
        if stage in models:
            state = replace(state, spent=_spent(stage, models[stage], cache), failure=progress.stats.last_failure)
        folder.note(stage, state)
    watcher.end(stage, state, kept=found is not None)
    if not state.records and stage not in {"clean", "reason"}:
        raise _nothing_left(stage, state if stage != "sources" else folder.states()["clean"], folder)
    return state


def _nothing_left(stage: Stage, state: StageState, folder: RunFolder) -> TrainingError:
    """Return the error of a stage without records, by the state of the one whose answers are to blame."""
    told = f"stage {stage!r} left nothing; dropped were {dict(state.drops) or 'none'}"
    if state.passing and state.failure:
        return TrainingError(f"{told}, the last with: {state.failure}; mend that and run the same command again")
    return TrainingError(
        f"{told}: look at the answers in {folder.cache_file}, then change the card, the model or the settings"
    )


def _spent(stage: Stage, model: ChatModel, cache: ResponseCache) -> TokenUsage:
    """Return what all runs in this folder paid for a stage's answers from its model."""
    spent = cache.usage(stage=stage, model=model.settings.name)
    return replace(spent, cost=model.settings.cost(input_tokens=spent.input_tokens, output_tokens=spent.output_tokens))
