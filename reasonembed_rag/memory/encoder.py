"""LatentEncoder: one model that embeds, compresses and answers from memories (a GRC-style reconstruction)."""

from __future__ import annotations

import dataclasses
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import torch

from reasonembed_rag.encoder import Encoder, ModelDescription, plan_packs, progress_bar
from reasonembed_rag.errors import InputError
from reasonembed_rag.files import check_texts, check_words
from reasonembed_rag.memory.engine import LatentEngine
from reasonembed_rag.memory.folder import LoadedLatent, load_latent
from reasonembed_rag.memory.generation import GenerationSettings, choose_token, final_pieces
from reasonembed_rag.memory.memories import Memory, joined_memories
from reasonembed_rag.memory.model import REPEAT
from reasonembed_rag.memory.settings import want_count

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from reasonembed_rag.backbone import EncoderSettings, KeyValue, Tokens
    from reasonembed_rag.encoder import VectorCache
    from reasonembed_rag.memory.model import LatentModel

__all__ = ["LatentEncoder"]

_logger = logging.getLogger(__name__)

_CPU_BUDGET = 2048
_GPU_BUDGET = 32768
_CHARACTERS_PER_TOKEN = 16
"""Of a long text, what is tokenised for one chunk."""
_GREEDY = GenerationSettings()


class LatentEncoder(Encoder):
    """An Encoder whose vectors are the mean latent states, and which makes memories of texts and answers from them.

    Stores, frameworks and evaluation take it as any other. Threads may share it; their passes run one after another.
    Nothing here is the paper's: see docs/guide/latent-memory.md for what was measured.
    """

    def __init__(self, latent: LoadedLatent, *, token_budget: int | None = None, reasoning_tokens: int = 0) -> None:
        """Wrap a loaded latent model.

        reasoning_tokens is the self-reason embedding of queries: that many greedy tokens of the backbone stand between
        a query and its latents, documents have none. Raises InputError for counts that are no counts.
        """
        want_count("reasoning_tokens", reasoning_tokens, least=0)
        if token_budget is not None:
            want_count("token_budget", token_budget, least=1)
        spec, positions = latent.spec, latent.model.positions
        if reasoning_tokens:
            spec = dataclasses.replace(spec, query_map=f"self-reason {reasoning_tokens}")
            if positions is not None:
                room = positions - latent.model.settings.latents - reasoning_tokens
                if room < 1:
                    raise InputError(
                        f"reasoning_tokens is {reasoning_tokens}; {spec.model} has {positions} positions, which must "
                        f"hold a query and {latent.model.settings.latents} latents too: want less"
                    )
                spec = dataclasses.replace(spec, max_query_length=min(spec.max_query_length, room))
        self._latent_engine = LatentEngine(latent.model, spec)
        own = _GPU_BUDGET if latent.model.device.type == "cuda" else _CPU_BUDGET
        description = ModelDescription(spec, latent.tokenizer, device=None)
        super().__init__(description, self._latent_engine, token_budget=token_budget or own)
        self._reasoning = reasoning_tokens
        self._latent_settings = latent.model.settings
        self._fingerprint = latent.fingerprint
        self._ends = latent.ends
        self.chat_format = latent.chat_format
        """How the backbone takes messages."""

    @classmethod
    def from_folder(
        cls,
        folder: str | os.PathLike[str],
        *,
        backbone: str | None = None,
        device: str | None = None,
        dtype: str = "auto",
        token_budget: int | None = None,
        reasoning_tokens: int = 0,
    ) -> LatentEncoder:
        """Load what save_latent or `reasonembed train run` wrote; `backbone` says where its backbone is now.

        Raises ModelError for a folder that is not a latent model and for another backbone than it was trained on.
        """
        latent = load_latent(Path(folder), backbone=backbone, device=device, dtype=dtype)
        return cls(latent, token_budget=token_budget, reasoning_tokens=reasoning_tokens)

    @classmethod
    def _load(cls, settings: EncoderSettings, cache: VectorCache | None) -> NoReturn:
        del cache
        raise InputError(f"{settings.model}: latent models are loaded with LatentEncoder.from_folder")

    def __reduce__(self) -> NoReturn:
        """Refuse: it holds weights."""
        raise InputError("a LatentEncoder cannot be pickled; load it again with from_folder")

    async def aencode_tokens(self, tokens: Tokens) -> NDArray[np.float32]:
        """As Encoder's; raises InputError with reasoning_tokens, for tokens do not say whether they are a query."""
        if self._reasoning:
            raise InputError(
                f"got tokens, whose role is not known, and queries are embedded behind {self._reasoning} tokens of "
                "reasoning; want texts, or reasoning_tokens=0"
            )
        return await super().aencode_tokens(tokens)

    @property
    def fingerprint(self) -> str:
        """32 hexadecimal digits of backbone and trained parts, which every memory carries."""
        return self._fingerprint

    @property
    def memory_bytes(self) -> int:
        """The bytes of every memory: 2 * layers * kv heads * head width * k * bytes per value."""
        return self._model.memory_bytes

    @property
    def memory_format(self) -> str:
        """The number format of every memory, the backbone's, such as float32."""
        return self._model.number_format

    @property
    def memory_shape(self) -> tuple[int, int, int, int, int]:
        """(layers, 2, kv heads, k, head width)."""
        return self._model.memory_shape

    def compress(self, texts: Sequence[str], *, show_progress: bool = False) -> list[Memory]:
        """Return the memory of each text, in input order; the same one by one, in a batch and packed, but for rounding.

        A text longer than the model's window for documents is not truncated: it is read in chunks, each behind the
        memory of those before it, and their number is logged. Raises InputError for what is not a string.
        """
        checked = check_texts(texts, kind="texts", allow_empty=True)
        tokens = self._document_tokens(checked)
        whole = list(range(len(checked))) if not tokens.truncated else self._fitting(checked)
        found: dict[int, Memory] = {}
        with progress_bar(total=len(checked), unit="texts", show=show_progress) as advance:
            for rows in plan_packs(tokens.lengths[whole], budget=self._texts.budget):
                numbers = [whole[row] for row in rows]
                read = self._read(tokens.rows(np.asarray(numbers, np.int64)))
                found |= dict(zip(numbers, read, strict=True))
                advance(len(numbers))
            chunked = [number for number in range(len(checked)) if number not in found]
            for number in chunked:
                found[number] = self._in_chunks(checked[number])
                advance(1)
        if chunked:
            _logger.warning(
                "%d of %d texts are longer than %d tokens and were read in chunks, each behind the memory of those "
                "before it; split documents to what the model reads: passage_splitter",
                len(chunked),
                len(checked),
                self._spec.max_document_length,
            )
        return [found[number] for number in range(len(checked))]

    def update(self, memory: Memory, text: str) -> Memory:
        """Return the memory of what `memory` holds followed by a text, of the same size: O(1) for a conversation.

        Raises InputError for a text longer than the window, SpecMismatchError for another model's memory.
        """
        check_words(text, name="text")
        tokens = self._document_tokens([text])
        if tokens.truncated:
            longest = self._spec.max_document_length
            raise InputError(f"text has {tokens.unread} tokens beyond {longest}; want less, or several updates")
        return self._read(tokens.rows(np.asarray([0])), behind=memory)[0]

    def generate(
        self,
        question: str,
        *,
        memories: Sequence[Memory] | None = None,
        texts: Sequence[str] | None = None,
        settings: GenerationSettings = _GREEDY,
    ) -> str:
        """Return the answer to a question from memories, from texts, or from the question alone.

        From memories, these stand first, in their order; texts are read in full by the backbone itself. Raises
        InputError for memories and texts at once and for a prompt beyond the model's positions, SpecMismatchError for
        memories of another model.
        """
        return "".join(self.stream(question, memories=memories, texts=texts, settings=settings))

    def stream(
        self,
        question: str,
        *,
        memories: Sequence[Memory] | None = None,
        texts: Sequence[str] | None = None,
        settings: GenerationSettings = _GREEDY,
    ) -> Iterator[str]:
        """Yield what generate returns in pieces, as they are generated; arguments are checked before the first."""
        check_words(question, name="question")
        if memories is not None and texts is not None:
            raise InputError("got both memories and texts; want one of them")
        asked = self._latent_settings.question_template.replace("{question}", question)
        if memories is None:
            given = check_texts(texts or [], kind="texts", allow_empty=False)
            parts = [self._latent_settings.text_template.replace("{text}", text) for text in given]
            asked = "".join([*parts, asked])
            head = self._tokenizer.head_ids
        else:
            head = []
        prompt = np.asarray([*head, *self._tokenizer.ids_alone([asked])[0]], np.int32)
        return self._answer(prompt, memories, settings)

    def complete(
        self,
        prompt: str,
        *,
        memories: Sequence[Memory] | None = None,
        settings: GenerationSettings = _GREEDY,
    ) -> Iterator[str]:
        """Yield the continuation of a prompt as it is, without templates, behind memories where they are given."""
        check_words(prompt, name="prompt")
        ids = self._tokenizer.ids_alone([prompt])[0]
        head = np.asarray(self._tokenizer.head_ids if memories is None else [], np.int32)
        if not np.array_equal(ids[: len(head)], head):  # chat templates often begin with BOS themselves
            ids = np.concatenate([head, ids])
        return self._answer(ids, memories, settings)

    def regenerate(self, memory: Memory, *, settings: GenerationSettings = _GREEDY) -> str:
        """Return the text that a memory holds, as far as the model can say it again."""
        return "".join(self._answer(np.asarray([REPEAT], np.int32), [memory], settings))

    def token_gradients(self) -> NoReturn:
        """Raise InputError: attacks need an encoder whose vector is pooled over the text."""
        raise InputError("a latent model gives no token gradients; want an Encoder")

    @property
    def _model(self) -> LatentModel:
        return self._latent_engine.model

    def _encode_all(self, texts: list[str], call: Any, *, show_progress: bool) -> NDArray[np.float32]:
        with self._texts.lock:
            self._latent_engine.reasoning = self._reasoning if call.role == "query" else 0
            return super()._encode_all(texts, call, show_progress=show_progress)

    def _document_tokens(self, texts: Sequence[str]) -> Tokens:
        before, after = self._spec.document_affixes()
        return self._tokenizer(texts, before=before, after=after, max_length=self._spec.max_document_length)

    def _fitting(self, texts: Sequence[str]) -> list[int]:
        """Return the numbers of the texts that are read whole."""
        before, after = self._spec.document_affixes()
        room = self._tokenizer.room(before=before, after=after, max_length=self._spec.max_document_length)
        spans = self._tokenizer.spans(texts, before=before, after=after)
        return [number for number, one in enumerate(spans) if len(one) <= room]

    def _read(self, sequences: Sequence[NDArray[np.int32]], *, behind: Memory | None = None) -> list[Memory]:
        past = None if behind is None else self._joined([behind])
        with self._texts.lock, torch.inference_mode():
            values = self._model(sequences, memories_BN2KPd=past).memories_BN2KkD
            self._texts.tokens += sum(len(ids) for ids in sequences)
        return [Memory(one.to("cpu", copy=True), self._fingerprint) for one in values]

    def _in_chunks(self, text: str) -> Memory:
        before, after = self._spec.document_affixes()
        longest = self._spec.max_document_length
        memory: Memory | None = None
        while text or memory is None:
            start = text[: longest * _CHARACTERS_PER_TOKEN]
            chunk = self._tokenizer.truncate(start, before=before, after=after, max_length=longest) or text[:1]
            [memory] = self._read(self._document_tokens([chunk]).rows(np.asarray([0])), behind=memory)
            text = text[len(chunk) :]
        return memory

    def _joined(self, memories: Sequence[Memory]) -> torch.Tensor:
        joined = joined_memories(
            memories, fingerprint=self._fingerprint, shape=self.memory_shape, number_format=self.memory_format
        )
        return joined.to(self._model.device)

    def _answer(
        self, prompt: NDArray[np.int32], memories: Sequence[Memory] | None, settings: GenerationSettings
    ) -> Iterator[str]:
        if not self._ends and not settings.stop:
            raise InputError(f"{self._spec.model}: its tokenizer has no end token; want stop strings in the settings")
        joined = None if memories is None else self._joined(memories)
        taken = len(prompt) + (0 if joined is None else joined.shape[4])
        positions = self._model.positions
        if positions is not None and taken + settings.max_tokens > positions:
            raise InputError(
                f"the prompt has {taken} tokens, and max_tokens is {settings.max_tokens}; the model has {positions} "
                "positions: want fewer texts, their memories, or a smaller max_tokens"
            )
        tokens = self._tokens(prompt, joined, settings)
        return final_pieces(tokens, self._decoded, settings.stop)

    def _tokens(
        self, prompt: NDArray[np.int32], joined: torch.Tensor | None, settings: GenerationSettings
    ) -> Iterator[int]:
        """Yield one token at a time; the lock is held within a step, not between them."""
        generator = torch.Generator().manual_seed(settings.seed)
        past: list[KeyValue] | None = None
        new = prompt
        for _ in range(settings.max_tokens):
            with self._texts.lock, torch.inference_mode():
                if past is None and joined is not None:
                    past = self._model.placed(joined)
                states_TD, past = self._model.plain([new], past=past)
                token = choose_token(self._model.logits(states_TD[-1:])[0], settings, generator)
                self._texts.tokens += len(new)
            if token in self._ends:
                return
            yield token
            new = np.asarray([token], np.int32)

    def _decoded(self, ids: list[int]) -> str:
        return self._tokenizer.decode([np.asarray(ids, np.int32)])[0]
