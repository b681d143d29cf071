"""Train a model by a recipe, from its first step or from its last checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reasonembed_rag.backbone import read_json
from reasonembed_rag.errors import TrainingError
from reasonembed_rag.evaluation import RetrievalTask
from reasonembed_rag.spec import EmbeddingSpec
from reasonembed_training import checkpoint
from reasonembed_training.checkpoint import TrainingProgress
from reasonembed_training.config import BatchConfig, Recipe
from reasonembed_training.data import BatchMaker, MemoryRows, RowTable, Sampler, TaskRows, open_rows
from reasonembed_training.dev_eval import read_dev_task
from reasonembed_training.devices import Machine, open_machine
from reasonembed_training.export import export_model
from reasonembed_training.latent_model import LatentModule, build_latent_model, export_latent
from reasonembed_training.latent_step import latent_stepper, memory_rows
from reasonembed_training.log import MetricsLog
from reasonembed_training.loop import Loop, stop_on_signals
from reasonembed_training.merging import interpolate_weights
from reasonembed_training.model import TrainingModel, build_model
from reasonembed_training.model_card import TrainedRun, model_card, training_record
from reasonembed_training.objective import Redapter
from reasonembed_training.plan import (
    objective_from,
    perturber_from,
    regularised_tasks,
    sources_from,
    steps_of,
    task_plans,
)
from reasonembed_training.progress import SilentCallback, TrainingCallback
from reasonembed_training.recipe import changed_keys, recipe_to_json
from reasonembed_training.step import ReferenceModel, Stepper
from reasonembed_training.teacher import open_teacher

__all__ = ["TrainingOutcome", "train"]

_ROWS_PER_MESSAGE = 10_240


@dataclass(frozen=True, slots=True)
class TrainingOutcome:
    """How a call of train ended."""

    progress: TrainingProgress
    steps: int
    """Steps of the whole run."""
    model: Path | None
    """The exported folder; None if the run was stopped before its end."""


def train(recipe: Recipe, *, callback: TrainingCallback | None = None) -> TrainingOutcome:
    """Train by a recipe; resume if its output folder has a checkpoint of the same run.

    SIGTERM and Ctrl-C save a checkpoint and return. Raises TrainingError, InputError or ModelError for a recipe, data
    or model that cannot be trained, before the first step if possible.
    """
    output = recipe.run.output
    machine = open_machine(recipe.model, output=output, trackers=recipe.run.trackers)
    callback = callback if callback is not None and machine.rank == 0 else SilentCallback()
    table = _rows(recipe, machine, callback)
    data = _Data(table, memory_rows(recipe, machine))
    progress = _progress(recipe, data.digest, machine)
    loop = _loop(recipe, machine, data, progress, callback)
    if progress.step:
        checkpoint.restore(_latest(output), loop.module, loop.optimizer.optimizer, rank=machine.rank)
        callback.message(f"resuming after step {progress.step} of {loop.steps}")
    if not loop.finished:
        with stop_on_signals() as stop:
            progress = loop.run(stop)
    model = _export(loop, table) if loop.finished else None
    machine.close()
    return TrainingOutcome(progress, loop.steps, model)


def _rows(recipe: Recipe, machine: Machine, callback: TrainingCallback) -> RowTable:
    """Open the rows; the first process alone writes them to the cache."""
    with machine.accelerator.main_process_first():
        table = open_rows(
            sources_from(recipe.data),
            cache=recipe.run.cache,
            on_rows=lambda done: callback.message(f"{done} rows read") if done % _ROWS_PER_MESSAGE == 0 else None,
        )
    missing = table.without_reasoning()
    callback.message(f"{len(table)} rows")
    if recipe.redapter.enabled and missing:
        callback.message(f"{missing} rows have no reasoning query; their reasoning intensity is 1")
    return table


@dataclass(frozen=True, slots=True)
class _Data:
    """What a run trains on."""

    table: RowTable
    memories: MemoryRows | None
    """None without [latent]."""

    @property
    def digest(self) -> str:
        """The digest of all rows."""
        return self.table.digest + (f"-{self.memories.digest}" if self.memories else "")


def _progress(recipe: Recipe, digest: str, machine: Machine) -> TrainingProgress:
    """Return the progress of the run; raises TrainingError if the folder has checkpoints of another run."""
    written = recipe_to_json(recipe)
    newest = checkpoint.checkpoints(recipe.run.output / "checkpoints")
    if not newest:
        return TrainingProgress(step=0, recipe=written, data=digest, world=machine.world)
    found = checkpoint.read_progress(newest[-1])
    cure = f"choose another run.output, or delete {newest[-1].parent}"
    changed = changed_keys(found.recipe, written)
    if changed:
        raise TrainingError(f"{newest[-1]} was made by another recipe, which differs in {', '.join(changed)}; {cure}")
    if found.data != digest:
        raise TrainingError(f"{newest[-1]} was made from other data ({found.data}, now {digest}); {cure}")
    if found.world != machine.world:
        raise TrainingError(
            f"{newest[-1]} was made by {found.world} processes, not {machine.world}; want {found.world}"
        )
    return found


def _loop(
    recipe: Recipe, machine: Machine, data: _Data, progress: TrainingProgress, callback: TrainingCallback
) -> Loop:
    """Assemble a run from its parts."""
    table, tasks = data.table, data.table.tasks()
    sampler = Sampler(task_plans(tasks, recipe.batch), seed=recipe.run.seed)
    steps = steps_of(sampler, recipe.optim)
    callback.message(_planned(sampler, steps))
    dev_tasks = [read_dev_task(config) for config in recipe.dev.sets]
    _check_names(dev_tasks)
    torch.manual_seed(recipe.run.seed)  # the same LoRA weights on every process
    # FSDP gathers sharded weights in hooks of transformers' own modules, which the packed forward does not call.
    config = replace(recipe.model, forward="padded") if machine.sharded else recipe.model
    if recipe.latent.tokens:
        model = build_latent_model(recipe, device=machine.device, bfloat16=machine.bfloat16)
    else:
        model = build_model(config, recipe.lora, device=machine.device, bfloat16=machine.bfloat16)
    torch.manual_seed(recipe.run.seed + machine.rank)  # different dropout on every process
    count = sum(parameter.numel() for parameter in model.trainable().values())
    callback.message(f"training {count:,} weights on {machine.device}")
    module, optimizer = machine.prepare(model.module, _optimizer(recipe, model))
    stepper = _stepper(recipe, machine, model, module, reference=_reference(recipe, machine, tasks))
    return Loop(
        recipe=recipe,
        machine=machine,
        model=model,
        module=module,
        optimizer=optimizer,
        stepper=stepper if data.memories is None else latent_stepper(recipe, model, stepper, data.memories),
        maker=_maker(recipe, machine, table, sampler, model),
        dev_tasks=dev_tasks,
        steps=steps,
        progress=progress,
        log=_log(recipe, machine, progress),
        callback=callback,
    )


def _planned(sampler: Sampler, steps: int) -> str:
    left = sampler.rows_left_over
    return f"{steps} steps, {sampler.steps_per_epoch} per epoch" + (f"; {left} rows fill no batch" if left else "")


def _check_names(tasks: Sequence[RetrievalTask]) -> None:
    names = [task.name for task in tasks]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise TrainingError(f"dev.sets names {min(twice)!r} twice; want folders with different names")


def _optimizer(recipe: Recipe, model: TrainingModel) -> torch.optim.Optimizer:
    config, trainable = recipe.optim, list(model.trainable().values())
    return torch.optim.AdamW(
        [
            {"params": [one for one in trainable if one.ndim > 1], "weight_decay": config.weight_decay},
            {"params": [one for one in trainable if one.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=config.lr,
        betas=(config.betas[0], config.betas[1]),
        eps=config.epsilon,
    )


def _stepper(
    recipe: Recipe,
    machine: Machine,
    model: TrainingModel,
    module: torch.nn.Module,
    *,
    reference: ReferenceModel | None,
) -> Stepper:
    config, spec = recipe.redapter, model.spec
    redapter = None
    if config.enabled:
        redapter = Redapter(kappa=config.kappa, floor=config.floor, epsilon=config.epsilon, normalise=config.normalise)
    return Stepper(
        module=module,
        objective=objective_from(
            recipe.loss,
            recipe.consistency,
            reference=recipe.reference,
            teacher=recipe.teacher,
            dimension=spec.dimension,
            normalize=spec.normalize,
        ),
        redapter=redapter,
        machine=machine,
        dimension=spec.dimension,
        budget=recipe.batch.tokens,
        pool_prompt=spec.pool_prompt,
        reference=reference,
        teacher=open_teacher(recipe.teacher, device=machine.device, cache=recipe.run.cache),
    )


def _reference(recipe: Recipe, machine: Machine, tasks: Sequence[TaskRows]) -> ReferenceModel | None:
    """Load the initial model a second time if [reference] has a weight."""
    regularised = regularised_tasks(recipe.reference, tasks)
    if not recipe.reference.weight:
        return None
    with torch.random.fork_rng(devices=[]):
        initial = build_model(recipe.model, recipe.lora, device=machine.device, bfloat16=machine.bfloat16)
    forward = initial.module.requires_grad_(requires_grad=False).frozen()
    return ReferenceModel(forward=forward, tasks=regularised)


def _maker(recipe: Recipe, machine: Machine, table: RowTable, sampler: Sampler, model: TrainingModel) -> BatchMaker:
    return BatchMaker(
        table=table,
        tasks={task.name: task for task in table.tasks()},
        sampler=sampler,
        tokenizer=model.tokenizer,
        spec=_training_spec(recipe.batch, model.spec),
        seed=recipe.run.seed,
        rank=machine.rank,
        world=machine.world,
        reasoning_from=recipe.redapter.start_step if recipe.redapter.enabled else None,
        max_reasoning_length=recipe.redapter.max_length,
        fill_reasoning=machine.sharded,
        perturber=perturber_from(recipe.consistency, seed=recipe.run.seed),
    )


def _training_spec(batch: BatchConfig, spec: EmbeddingSpec) -> EmbeddingSpec:
    """Return the spec with the maximum lengths of training, which must not exceed the model's own."""
    lengths = {
        name: length
        for name in ("max_query_length", "max_document_length")
        if (length := getattr(batch, name)) is not None
    }
    for name, length in lengths.items():
        if length > (most := getattr(spec, name)):
            raise TrainingError(f"batch.{name} is {length}; want at most model.{name}, which is {most}")
    return replace(spec, **lengths)


def _log(recipe: Recipe, machine: Machine, progress: TrainingProgress) -> MetricsLog | None:
    if machine.rank != 0:
        return None
    accelerator = machine.accelerator
    if accelerator.log_with:
        accelerator.init_trackers(recipe.run.output.name)
    return MetricsLog(
        recipe.run.output / "metrics.jsonl",
        after_step=progress.step if progress.base or progress.step else -1,
        tracker=accelerator if accelerator.log_with else None,
    )


def _export(loop: Loop, table: RowTable) -> Path:
    """Export the best or the last weights, as dev.keep says, interpolated with the initial ones."""
    recipe, best = loop.recipe, loop.progress.best
    trained = loop.progress.last
    if recipe.dev.keep == "best" and best is not None:
        checkpoint.load_weights(loop.best_path(best.step), loop.module)
        trained = best
    if recipe.run.interpolate:
        interpolate_weights(loop.module, recipe.run.interpolate, initial=lambda: _initial_weights(loop))
        trained = replace(loop.measured(), step=trained.step) if trained is not None else None
    run = TrainedRun(
        recipe=recipe,
        spec=loop.model.spec,
        progress=loop.progress,
        steps=loop.steps,
        rows={task.name: len(task.rows) for task in table.tasks()},
        without_reasoning=table.without_reasoning(),
        trained=trained,
        started_from=_record_of(recipe.lora.start),
    )
    folder = recipe.run.output / "model"
    files = {"README.md": model_card(run), "training.json": training_record(run)}
    if isinstance(loop.model.module, LatentModule):
        export_latent(loop.model.module, folder, files=files)
    else:
        export_model(loop.model, folder, kind=recipe.run.export, files=files, rank=loop.machine.rank)
    loop.callback.message(f"exported to {folder}")
    return folder


def _record_of(adapter: Path | None) -> dict[str, Any] | None:
    """Return the training record of an adapter folder, None without one."""
    path = adapter / "training.json" if adapter is not None else None
    return read_json(path) if path is not None and path.is_file() else None


def _initial_weights(loop: Loop) -> dict[str, Tensor]:
    """Return the weights that training started from."""
    recipe, machine = loop.recipe, loop.machine
    model = build_model(recipe.model, recipe.lora, device=torch.device("cpu"), bfloat16=machine.bfloat16)
    return checkpoint.trained_weights(model.module)


def _latest(output: Path) -> Path:
    return checkpoint.checkpoints(output / "checkpoints")[-1]
