"""A latent model in training: its vectors for the contrastive loss, and the losses of its memories."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from reasonembed_rag.backbone import EncoderSettings, LoadedModel, TextTokenizer, find_model, finish
from reasonembed_rag.files import replacing_folder
from reasonembed_rag.memory import REPEAT, LatentModel, LatentSettings, LoadedLatent, create_latent, save_latent
from reasonembed_rag.spec import EmbeddingSpec
from reasonembed_training.config import Recipe
from reasonembed_training.data import MemoryRow
from reasonembed_training.model import EmbeddingModule, Forward, TrainingModel

__all__ = ["LatentModule", "MemoryExample", "MemoryLosses", "MemoryTokens", "build_latent_model", "export_latent"]

Ids = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class MemoryExample:
    """A memory row as tokens."""

    documents: tuple[Ids, ...]
    """Each becomes a memory; side by side they stand before the continuation."""
    continuation: Ids
    given: int
    """Tokens of the continuation that are not predicted: the question, or the first token."""
    text: Ids
    """The documents as a text before the continuation, for the divergence from the full text."""

    @property
    def size(self) -> int:
        """Number of tokens without latents."""
        return sum(map(len, self.documents)) + len(self.continuation)

    @property
    def predicted(self) -> int:
        """Number of tokens with a loss."""
        return len(self.continuation) - self.given


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryTokens:
    """Make examples of memory rows."""

    tokenizer: TextTokenizer
    spec: EmbeddingSpec
    """Its document template and maximum document length apply to the documents."""
    settings: LatentSettings
    ends: bool = True
    """Whether what is predicted whole ends with the tokenizer's end token."""

    def __call__(self, rows: Sequence[MemoryRow]) -> tuple[list[MemoryExample], int]:
        """Tokenise rows, and return the number of documents that were truncated, too.

        A document that is to be regenerated is as much of it as the memory has read.
        """
        before, after = self.spec.document_affixes()
        texts = [text for row in rows for text in row.documents]
        tokens = self.tokenizer(texts, before=before, after=after, max_length=self.spec.max_document_length)
        own = self.tokenizer.text_spans(tokens, before=before, after=after)
        documents = tokens.rows(np.arange(len(texts)))
        found, first = [], 0
        for row in rows:
            numbers = range(first, first + len(row.documents))
            first = numbers.stop
            continuation, given = self._continuation(row, documents[numbers[0]][own[numbers[0]]])
            read = [documents[number][own[number]] for number in numbers]
            found.append(
                MemoryExample(tuple(documents[number] for number in numbers), continuation, given, self._text(read))
            )
        return found, tokens.truncated

    def _continuation(self, row: MemoryRow, document: Ids) -> tuple[Ids, int]:
        eos = self.tokenizer.eos_id
        end = np.asarray([eos] if self.ends and eos is not None else [], np.int32)
        if row.answer is None:
            return np.concatenate([np.asarray([REPEAT], np.int32), document, end]), 1
        if row.question is None:
            return self.tokenizer.ids_alone([row.answer])[0], 1
        asked = self.settings.question_template.replace("{question}", row.question)
        answer = row.answer if asked[-1:].isspace() else f" {row.answer}"
        prompt, answered = self.tokenizer.ids_alone([asked, answer])
        return np.concatenate([prompt, answered, end]), len(prompt)

    def _text(self, read: Sequence[Ids]) -> Ids:
        """Return documents by the template of texts; the words are those that were read, however long the document."""
        texts = [self.settings.text_template.replace("{text}", one) for one in self.tokenizer.decode(read)]
        head = np.asarray(self.tokenizer.head_ids, np.int32)
        return np.concatenate([head, *self.tokenizer.ids_alone(texts)])


@dataclass(frozen=True, slots=True)
class MemoryLosses:
    """Sums over the tokens of a pass."""

    compression: Tensor
    """Cross-entropy of the predicted tokens given the memories."""
    divergence: Tensor
    """KL(with the full text || with the memories) at these tokens; 0 where it is not asked for."""
    generation: Tensor
    """Cross-entropy of the documents' tokens as plain text, without gradient: the decoder is frozen."""


class LatentModule(EmbeddingModule):
    """Map token sequences to vectors, and memory examples to their losses."""

    def __init__(self, latent: LoadedLatent, folder: Path) -> None:
        backbone = cast("Any", latent.model.backbone)
        super().__init__(LoadedModel(latent.spec, latent.tokenizer, backbone, backbone, 0, folder))
        self.latent: LatentModel = latent.model
        self.loaded = latent

    def forward(self, sequences: Sequence[Ids], skip: int = 0) -> Tensor:  # noqa: ARG002 - as EmbeddingModule
        """Return the vectors (n, D) of n token sequences with their latents, in the current gradient mode."""
        spec = self.loaded.spec
        return finish(self.latent(sequences).pooled_BD, dimension=spec.dimension, normalize=spec.normalize)

    def frozen(self) -> Forward:
        """Return a forward with the current weights, without gradients."""
        return self._evaluated

    def losses(self, examples: Sequence[MemoryExample], *, divergence: bool) -> MemoryLosses:
        """Return the losses of examples in one pass over their documents; `divergence` reads the full texts too."""
        documents = [ids for one in examples for ids in one.documents]
        reading = self.latent(documents, text_states=True)
        counts = np.cumsum([0, *(len(one.documents) for one in examples)])
        memories = [reading.memories_BN2KkD[a:b] for a, b in pairwise(counts)]
        parts = [
            self._answers([examples[row] for row in rows], [memories[row] for row in rows], divergence=divergence)
            for rows in _of_one_number(examples)
        ]
        with torch.no_grad():
            generation = self._cross_entropy(cast("Tensor", reading.texts_TD), documents, [1] * len(documents))
        compression, apart = (torch.stack(sums).sum() for sums in zip(*parts, strict=True))
        return MemoryLosses(compression, apart, generation)

    def _answers(
        self, examples: Sequence[MemoryExample], memories: Sequence[Tensor], *, divergence: bool
    ) -> tuple[Tensor, Tensor]:
        """Return cross-entropy and divergence of examples that have equally many documents."""
        # Side by side: (documents, layers, 2, heads, k, d) of a row to (layers, 2, heads, documents * k, d).
        placed = self.latent.placed(torch.stack([torch.cat([*one], dim=3) for one in memories]))
        continuations = [one.continuation for one in examples]
        states_TD, _ = self.latent.plain(continuations, past=placed)
        given = [one.given for one in examples]
        compression = self._cross_entropy(states_TD, continuations, given)
        if not divergence:
            return compression, compression.new_zeros(())
        texts = [one.text for one in examples]
        with torch.no_grad():
            whole = [np.concatenate(pair) for pair in zip(texts, continuations, strict=True)]
            taught_TD, _ = self.latent.plain(whole)
            before = [len(text) + count for text, count in zip(texts, given, strict=True)]
            taught_NV = functional.log_softmax(self._logits(taught_TD, whole, before), dim=-1)
        got_NV = functional.log_softmax(self._logits(states_TD, continuations, given), dim=-1)
        return compression, functional.kl_div(got_NV, taught_NV, reduction="sum", log_target=True)

    def _logits(self, states_TD: Tensor, sequences: Sequence[Ids], given: Sequence[int]) -> Tensor:
        """Return the logits (N, V) that predict each sequence's tokens behind the first `given`, float32."""
        lengths = [len(ids) for ids in sequences]
        starts = np.cumsum([0, *lengths[:-1]])
        rows = [np.arange(a + count - 1, a + size - 1) for a, count, size in zip(starts, given, lengths, strict=True)]
        return self.latent.logits(states_TD[torch.from_numpy(np.concatenate(rows)).to(states_TD.device)]).float()

    def _cross_entropy(self, states_TD: Tensor, sequences: Sequence[Ids], given: Sequence[int]) -> Tensor:
        wanted = np.concatenate([ids[count:] for ids, count in zip(sequences, given, strict=True)]).astype(np.int64)
        logits_NV = self._logits(states_TD, sequences, given)
        return functional.cross_entropy(logits_NV, torch.from_numpy(wanted).to(states_TD.device), reduction="sum")


def build_latent_model(recipe: Recipe, *, device: torch.device, bfloat16: bool) -> TrainingModel:
    """Load a frozen decoder and put the recipe's latents and gated LoRA on it.

    Raises InputError for an encoder and for LoRA targets that match no layer, ModelError for a model that cannot be
    loaded or has no output matrix.
    """
    config, lora, latent = recipe.model, recipe.lora, recipe.latent
    backbone = EncoderSettings(
        model=config.name,
        revision=config.revision,
        device=str(device),
        dtype="bfloat16" if bfloat16 else "float32",
        max_query_length=config.max_query_length,
        max_document_length=config.max_document_length,
    )
    settings = LatentSettings(
        latents=latent.tokens,
        rank=lora.rank,
        alpha=lora.alpha,
        targets=lora.targets,
        question_template=latent.question_template,
        text_template=latent.text_template,
    )
    made = create_latent(backbone, settings, seed=recipe.run.seed)
    names = ("query_template", "document_template", "default_instruction")
    changes = {name: getattr(config, name) for name in names if getattr(config, name) is not None}
    made = replace(made, spec=replace(made.spec, **changes))
    folder = find_model(config.name, revision=config.revision)
    return TrainingModel(LatentModule(made, folder).train(), made.spec, made.tokenizer, folder)


def export_latent(module: LatentModule, folder: Path, *, files: dict[str, str]) -> None:
    """Write the trained parts and `files` to a folder that load_latent loads; it appears once it is complete."""
    with replacing_folder(folder) as aside:
        save_latent(module.loaded, aside)
        for name, text in files.items():
            (aside / name).write_text(text, encoding="utf-8")


def _of_one_number(examples: Sequence[MemoryExample]) -> Iterator[list[int]]:
    """Yield the numbers of examples with equally many documents, as a pass over continuations needs them."""

    def count(number: int) -> int:
        return len(examples[number].documents)

    for _, numbers in groupby(sorted(range(len(examples)), key=count), key=count):
        yield [*numbers]
