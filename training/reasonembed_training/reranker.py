"""Train a cross-encoder: the softmax over a row's documents against its positive, or against their grades."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from reasonembed_rag.backbone import EncoderSettings, PairTokenizer, find_bare_source, read_segments
from reasonembed_rag.errors import ModelError, TrainingError
from reasonembed_rag.files import replacing_folder
from reasonembed_training import checkpoint
from reasonembed_training.checkpoint import TrainingProgress
from reasonembed_training.config import BatchConfig
from reasonembed_training.data import Drawn, RowTable, Sampler, open_rows
from reasonembed_training.devices import check_device, uses_bfloat16
from reasonembed_training.log import MetricsLog, Pace, StepMetrics
from reasonembed_training.loop import rate_at, stop_on_signals
from reasonembed_training.plan import sources_from, steps_of, task_plans
from reasonembed_training.progress import SilentCallback, TrainingCallback
from reasonembed_training.reranker_recipe import RerankerRecipe
from reasonembed_training.trainer import TrainingOutcome

__all__ = ["listwise_loss", "train_reranker"]


def listwise_loss(scores_N: Tensor, grades_N: Tensor) -> Tensor:
    """Return the cross-entropy of the softmax over a row's documents, of which the first is the positive.

    Where every document has a grade, the target is the softmax of the grades (ListNet, Cao et al. 2007, equation 5);
    otherwise the positive alone.
    """
    if torch.isnan(grades_N).any():
        target_N = torch.zeros_like(scores_N)
        target_N[0] = 1.0
    else:
        target_N = torch.softmax(grades_N, dim=0)
    return -(target_N * functional.log_softmax(scores_N, dim=0)).sum()


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Rows of a step as sequences of token ids: those of row i have the numbers rows[i]."""

    sequences: list[NDArray[np.int32]]
    rows: list[list[int]]
    grades: list[Tensor]


class _Reranker:
    """The model in training."""

    def __init__(self, recipe: RerankerRecipe) -> None:
        settings = EncoderSettings(model=recipe.model.name, revision=recipe.model.revision)
        source = find_bare_source(settings, pooling="cls", pairs=True)
        tokenizer, self._pad_id = source.tokenizer(append_eos=False, vocabulary_size=None)
        self._segments = source.facts.segments
        self._tokenizer: PairTokenizer = tokenizer.for_pairs(segments=self._segments)
        self._max_length = recipe.model.max_length
        self.folder = source.facts.transformer_folder
        positions = source.spec(dtype="float32").max_document_length
        if self._max_length > positions:
            raise TrainingError(f"model.max_length is {self._max_length}; want at most {positions}, the model's limit")
        device = recipe.model.device or ("cuda" if torch.cuda.is_available() else "cpu")
        check_device(device)
        self._bfloat16 = uses_bfloat16(recipe.model.precision, cpu=device == "cpu")
        self.module = _module(self.folder).to(device)

    def pairs(self, drawn: Sequence[Drawn]) -> _Pairs:
        """Tokenise the pairs of rows."""
        found = _Pairs([], [], [torch.tensor(one.grades, device=self.module.device) for one in drawn])
        for one in drawn:
            query, *documents = self._tokenizer.ids([one.query, *one.documents])
            numbers = range(len(found.sequences), len(found.sequences) + len(documents))
            found.rows.append([*numbers])
            for document in documents:
                kept = self._tokenizer.fit(len(query), len(document), max_length=self._max_length)
                found.sequences.append(self._tokenizer.join(query[: kept.first], document[: kept.second]))
        return found

    def scores(self, sequences: Sequence[NDArray[np.int32]]) -> Tensor:
        """Return the logits of sequences as one padded batch."""
        longest = max(map(len, sequences))
        ids = np.full((len(sequences), longest), self._pad_id, np.int64)
        real = np.zeros_like(ids)
        for row, sequence in enumerate(sequences):
            ids[row, : len(sequence)] = sequence
            real[row, : len(sequence)] = 1
        inputs = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(real)}
        if self._segments:
            inputs["input_ids"], inputs["token_type_ids"] = read_segments(inputs["input_ids"])
        on_device = {name: tensor.to(self.module.device) for name, tensor in inputs.items()}
        with torch.autocast(self.module.device.type, torch.bfloat16, enabled=self._bfloat16):
            logits: Tensor = self.module(**on_device).logits[:, 0]
        return logits.float()

    def save(self, folder: Path) -> None:
        """Write the cross-encoder in transformers' layout, with the tokenizer's files as they were."""
        self.module.save_pretrained(folder)
        for name in _TOKENIZER_FILES:
            if (self.folder / name).is_file():
                shutil.copyfile(self.folder / name, folder / name)


_TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt", "vocab.json", "merges.txt",
    "sentencepiece.bpe.model",
)  # fmt: skip


def _module(folder: Path) -> Any:
    from transformers import AutoModelForSequenceClassification
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()  # that the head is new is what training is for
    try:
        module = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1, local_files_only=True)
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ModelError(f"{folder}: cannot be trained as a cross-encoder ({reason})") from error
    finally:
        logging.set_verbosity(level)
    return module


def train_reranker(recipe: RerankerRecipe, *, callback: TrainingCallback | None = None) -> TrainingOutcome:
    """Train a cross-encoder by a recipe; resume if its output folder has a checkpoint of the same run.

    SIGTERM and Ctrl-C save a checkpoint and return. The model is then in `model` of the output folder, for
    CrossEncoder.from_pretrained. Raises TrainingError, InputError or ModelError for a recipe, data or model that cannot
    be trained, before the first step if possible.
    """
    callback = callback or SilentCallback()
    table = open_rows(sources_from(recipe.data), cache=recipe.run.cache, on_rows=lambda _: None)
    batch = recipe.batch
    plans = task_plans(table.tasks(), BatchConfig(queries=batch.queries, group=batch.group, tasks=batch.tasks))
    sampler = Sampler(plans, seed=recipe.run.seed)
    steps = steps_of(sampler, recipe.optim)
    progress = _progress(recipe, table)
    torch.manual_seed(recipe.run.seed)
    run = _Run(recipe, table, sampler, _Reranker(recipe))
    log = MetricsLog(recipe.run.output / "metrics.jsonl", after_step=progress.step)
    folder = recipe.run.output / "checkpoints"
    if progress.step:
        checkpoint.restore(checkpoint.checkpoints(folder)[-1], run.reranker.module, run.optimizer)
        callback.message(f"resuming after step {progress.step} of {steps}")
    with stop_on_signals() as stop:
        while progress.step < steps and not stop.made:
            started = time.perf_counter()
            metrics = run.step(progress.step, steps=steps)
            progress = replace(
                progress,
                step=metrics.step,
                seconds=progress.seconds + time.perf_counter() - started,
                tokens=progress.tokens + metrics.tokens,
            )
            if progress.step % recipe.run.log_every == 0 or progress.step == steps:
                log.step(metrics)
                callback.step(metrics, steps=steps)
            if progress.step % recipe.run.checkpoint_every == 0 or progress.step == steps or stop.made:
                checkpoint.save(folder, progress, run.reranker.module, run.optimizer)
                checkpoint.prune(folder, keep=recipe.run.checkpoints)
    if progress.step < steps:
        callback.message(f"stopped and saved at step {progress.step} of {steps}; run again to resume")
    return TrainingOutcome(progress, steps, _export(run, progress) if progress.step >= steps else None)


def _progress(recipe: RerankerRecipe, table: RowTable) -> TrainingProgress:
    """Return the progress of the run; raises TrainingError if the folder has checkpoints of another run."""
    newest = checkpoint.checkpoints(recipe.run.output / "checkpoints")
    if not newest:
        return TrainingProgress(step=0, recipe=recipe.to_json(), data=table.digest)
    found = checkpoint.read_progress(newest[-1])
    changed = recipe.changed_keys(found.recipe)
    if changed or found.data != table.digest:
        differs = f"another recipe, which differs in {', '.join(changed)}" if changed else "other data"
        raise TrainingError(
            f"{newest[-1]} was made by {differs}; choose another run.output, or delete {newest[-1].parent}"
        )
    return found


class _Run:
    """One run: rows, model and optimiser."""

    def __init__(self, recipe: RerankerRecipe, table: RowTable, sampler: Sampler, reranker: _Reranker) -> None:
        self.recipe, self.reranker = recipe, reranker
        self._table, self._sampler, self._pace = table, sampler, Pace()
        self._tasks = {task.name: task for task in table.tasks()}
        config = recipe.optim
        self.optimizer = torch.optim.AdamW(
            reranker.module.parameters(),
            lr=config.lr,
            betas=(config.betas[0], config.betas[1]),
            eps=config.epsilon,
            weight_decay=config.weight_decay,
        )

    def step(self, number: int, *, steps: int) -> StepMetrics:
        """Do one optimiser step; which rows and documents it sees depends on its number, from 0, alone."""
        started, config = time.perf_counter(), self.recipe.optim
        pairs = self.reranker.pairs(self._drawn(number))
        self.reranker.module.train()
        torch.manual_seed(self.recipe.run.seed + number)  # dropout of a resumed run is that of an uninterrupted one
        loss = sum(self._backward(pairs, rows) for rows in self._parts(pairs))
        if not np.isfinite(loss):
            raise TrainingError(f"the loss of step {number} is {loss}; want a lower optim.lr")
        norm = torch.nn.utils.clip_grad_norm_(self.reranker.module.parameters(), config.clip or float("inf"))
        lr = config.lr * rate_at(number, steps=steps, warmup=config.warmup, schedule=config.schedule)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()
        self.optimizer.zero_grad()
        tokens = sum(map(len, pairs.sequences))
        self._pace.add(tokens, time.perf_counter() - started)
        return StepMetrics(
            step=number + 1,
            task=self._sampler.batch(number).task,
            loss=loss,
            info_nce=loss,
            intensity=None,
            gradient_norm=norm.item(),
            lr=lr,
            tokens=tokens,
            tokens_per_second=self._pace.tokens_per_second,
            seconds_left=self._pace.seconds_left(steps - number - 1),
        )

    def _drawn(self, number: int) -> list[Drawn]:
        batch = self._sampler.batch(number)
        rows = self._tasks[batch.task].rows[batch.rows]
        seed = self.recipe.run.seed
        drawn = [
            self._table.draw(int(row), group=batch.group, generator=np.random.default_rng([seed, batch.draw, int(row)]))
            for row in rows
        ]
        lists = [one for one in drawn if len(one.documents) > 1]
        if not lists:
            raise TrainingError(
                f"none of the {len(drawn)} rows of step {number} has a negative; want rows with `neg`, such as "
                "`reasonembed train mine` writes"
            )
        return lists

    def _parts(self, pairs: _Pairs) -> list[list[int]]:
        """Group rows of similar length into forward passes of the budget of tokens; a longer row is one by itself."""
        longest = [max(len(pairs.sequences[number]) for number in numbers) for numbers in pairs.rows]
        parts: list[list[int]] = []
        width = count = 0
        for row in sorted(range(len(pairs.rows)), key=lambda row: -longest[row]):
            if not parts or width * (count + len(pairs.rows[row])) > self.recipe.batch.tokens:
                parts.append([])
                width, count = longest[row], 0
            parts[-1].append(row)
            count += len(pairs.rows[row])
        return parts

    def _backward(self, pairs: _Pairs, rows: Sequence[int]) -> float:
        """Add the gradient of some rows' share of the mean loss, and return that share."""
        numbers = [pairs.rows[row] for row in rows]
        scores = self.reranker.scores([pairs.sequences[number] for own in numbers for number in own])
        parts = scores.split([len(own) for own in numbers])
        losses = [listwise_loss(part, pairs.grades[row]) for part, row in zip(parts, rows, strict=True)]
        share = torch.stack(losses).sum() / len(pairs.rows)
        share.backward()
        return share.item()


def _export(run: _Run, progress: TrainingProgress) -> Path:
    folder = run.recipe.run.output / "model"
    record = {"recipe": json.loads(run.recipe.to_json()), "data": progress.data, "steps": progress.step}
    with replacing_folder(folder) as aside:
        run.reranker.save(aside)
        (aside / "training.json").write_text(json.dumps(record, indent=2, ensure_ascii=False), encoding="utf-8")
    return folder
