"""Texts to token ids, with template and special tokens, truncated so that these are never lost."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from reasonembed_rag.backbone.pairs import PairTokenizer
from reasonembed_rag.errors import InputError, ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from tokenizers import Tokenizer

__all__ = ["TextTokenizer", "Tokens"]

_UNKNOWN_SHARE = 1 / 3
_CHUNK = 1024
"""Texts tokenised at once: bounds the Python lists of ids."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """Token ids of n texts, concatenated: text i is ids[offsets[i]:offsets[i + 1]]."""

    ids: NDArray[np.int32]
    offsets: NDArray[np.int64]
    truncated: int
    """Number of texts longer than the limit."""
    skip: int = 0
    """Number of leading tokens of every text that belong to the template; mean pooling may skip them."""
    shared: int = 0
    """Number of leading template tokens that all texts have in common; each text has at least one more token."""
    unread: int = 0
    """Number of tokens of the truncated texts beyond the limit."""
    unknown: int = 0
    """Number of texts of whose own tokens a third or more are the unknown token."""

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Number of tokens per text, (n,)."""
        return self.offsets[1:] - self.offsets[:-1]

    def rows(self, rows: NDArray[np.int64]) -> list[NDArray[np.int32]]:
        """Return the ids of some texts as views."""
        return [self.ids[self.offsets[row] : self.offsets[row + 1]] for row in rows]


class TextTokenizer:
    """Tokenise as the checkpoint's own tokenizer does; templates, EOS and truncation are handled only here."""

    def __init__(
        self, backend: Tokenizer, *, eos_id: int | None, append_eos: bool, vocabulary_size: int | None
    ) -> None:
        backend.no_truncation()
        backend.no_padding()
        self._backend = backend
        self._highest = highest = max(backend.get_vocab(with_added_tokens=True).values(), default=-1)
        if vocabulary_size is not None and highest >= vocabulary_size:
            raise ModelError(
                f"the tokenizer's highest id is {highest}, the embedding has {vocabulary_size} rows: "
                "the tokenizer belongs to another checkpoint; want the files of one checkpoint"
            )
        self._head, self._tail = _special_ids(backend)
        self.eos_id = eos_id
        """The id that ends a text; None where the tokenizer has none."""
        if append_eos:
            if eos_id is None:
                raise ModelError("append_eos is set but the tokenizer has no EOS token; want one, or append_eos=False")
            if self._tail[-1:] != [eos_id]:
                self._tail = [*self._tail, eos_id]
        self._unknown_id = _unknown_id(backend)
        self._filler = [] if self._head or self._tail else [eos_id if eos_id is not None else 0]

    def __call__(self, texts: Sequence[str], *, before: str, after: str, max_length: int) -> Tokens:
        """Return the ids of before + text + after for each text, at most max_length tokens each.

        A long text loses its end, never the special tokens or the template. Raises InputError if the template leaves no
        room for a token of text.
        """
        head_ids, after_ids = self._ids(before), self._ids(after)
        tail = [*after_ids, *self._tail]
        room = max_length - len(self._head) - len(tail)
        if room <= len(head_ids):
            taken = len(self._head) + len(head_ids) + len(tail)
            raise InputError(
                f"max_length is {max_length}, and template and special tokens alone take {taken}; "
                "want a larger max_length or a shorter instruction"
            )
        body_room = room + len(after_ids)
        arrays: list[NDArray[np.int32]] = []
        truncated = unread = 0
        for start in range(0, len(texts), _CHUNK):
            wrapped = [f"{before}{text}{after}" for text in texts[start : start + _CHUNK]]
            for encoding in self._backend.encode_batch_fast(wrapped, add_special_tokens=False):
                ids = encoding.ids
                if len(ids) > body_room:
                    truncated += 1
                    unread += len(ids) - body_room
                    ids = ids[:room] + after_ids
                arrays.append(np.asarray([*self._head, *ids, *self._tail] or self._filler, dtype=np.int32))
        flat = np.concatenate(arrays) if arrays else np.empty(0, dtype=np.int32)
        offsets = np.fromiter(itertools.accumulate(map(len, arrays), initial=0), np.int64, len(arrays) + 1)
        prompt = [*self._head, *head_ids] if before else []
        return Tokens(
            flat,
            offsets,
            truncated,
            skip=len(prompt),
            shared=_common_prefix(prompt, arrays) if prompt else 0,
            unread=unread,
            unknown=self._mostly_unknown(flat, offsets, frame=[*self._head, *head_ids, *tail]),
        )

    def complete(self, sequences: Sequence[Sequence[int]], *, max_length: int) -> Tokens:
        """Return token ids that were made elsewhere, special tokens included, truncated as texts are.

        Raises InputError for none, for ids that the model does not have and for a sequence without the special tokens
        that this tokenizer puts around every text: it is another tokenizer's.
        """
        arrays = [self._checked_ids(ids, position) for position, ids in enumerate(sequences)]
        lengths = np.asarray([len(ids) for ids in arrays], dtype=np.int64)
        kept = [
            ids if len(ids) <= max_length else np.concatenate([ids[: max_length - len(self._tail)], self._tail])
            for ids in arrays
        ]
        offsets = np.zeros(len(kept) + 1, dtype=np.int64)
        np.cumsum([len(ids) for ids in kept], out=offsets[1:])
        over = np.maximum(lengths - max_length, 0)
        flat = np.concatenate(kept).astype(np.int32) if kept else np.empty(0, dtype=np.int32)
        return Tokens(flat, offsets, int(np.count_nonzero(over)), unread=int(over.sum()))

    def _checked_ids(self, ids: Sequence[int], position: int) -> NDArray[np.int32]:
        if not len(ids):
            raise InputError(f"sequence {position} has no token ids; want at least one")
        least, most = min(ids), max(ids)
        if least < 0 or most > self._highest:
            wrong = least if least < 0 else most
            raise InputError(
                f"sequence {position} has the token id {wrong}; want ids of this model's own tokenizer, 0 to "
                f"{self._highest}, or send texts"
            )
        head, tail = self._head, self._tail
        if list(ids[: len(head)]) != head or (tail and list(ids[-len(tail) :]) != tail):
            raise InputError(
                f"sequence {position} does not begin with the token ids {head} and end with {tail}, which this model's "
                "tokenizer puts around every text; send texts, or ids of its own tokenizer with the special tokens"
            )
        return np.asarray(ids, dtype=np.int32)

    def _mostly_unknown(self, flat: NDArray[np.int32], offsets: NDArray[np.int64], *, frame: list[int]) -> int:
        """Count the texts with many unknown tokens, those of the frame, which all texts have, left out."""
        if self._unknown_id is None or not (unknown := flat == self._unknown_id).any():
            return 0
        unknown_N = np.add.reduceat(unknown, offsets[:-1], dtype=np.int64)
        unknown_N -= frame.count(self._unknown_id)
        own_N = np.diff(offsets) - len(frame)
        return int(np.count_nonzero((unknown_N > 0) & (unknown_N >= _UNKNOWN_SHARE * own_N)))

    def truncate(self, text: str, *, before: str, after: str, max_length: int) -> str:
        """Return the start of a text that gives at most max_length tokens when a server tokenises it again.

        A text that fits is returned whole. A truncated text ends at a token boundary of the whole text but may be
        tokenised differently: hence the loop.
        """
        room = max_length - len(self._head) - len(self._tail)
        tokens = self._backend.encode(f"{before}{text}", add_special_tokens=False)
        count, kept = len(tokens.ids), text
        while kept and (excess := len(self._ids(f"{before}{kept}{after}")) - room) > 0:
            count -= min(count, excess)
            kept = text[: max(0, tokens.offsets[count - 1][1] - len(before))] if count else ""
        return kept

    def room(self, *, before: str, after: str, max_length: int) -> int:
        """Return how many tokens of text a model of max_length tokens reads between before and after."""
        return max_length - len(self._head) - len(self._tail) - len(self._ids(before)) - len(self._ids(after))

    def spans(self, texts: Sequence[str], *, before: str, after: str) -> list[list[tuple[int, int]]]:
        """Return the start and end in characters of each text's tokens between before and after.

        There are as many as the whole has tokens beyond those of before and after by themselves, so that a text is
        truncated if and only if it has more than `room`.
        """
        first, last = len(self._ids(before)), len(self._ids(after))
        spans: list[list[tuple[int, int]]] = []
        for start in range(0, len(texts), _CHUNK):
            part = texts[start : start + _CHUNK]
            found = self._backend.encode_batch([f"{before}{text}{after}" for text in part], add_special_tokens=False)
            for text, encoding in zip(part, found, strict=True):
                offsets = encoding.offsets
                if before or after:
                    kept = offsets[first : len(offsets) - last]
                    offsets = [(_within(text, a - len(before)), _within(text, b - len(before))) for a, b in kept]
                spans.append(offsets)
        return spans

    def text_spans(self, tokens: Tokens, *, before: str, after: str) -> list[slice]:
        """Return the range of each text's own tokens, without template and special tokens.

        A token that merges the end of the template with the start of the text counts as the text's.
        """
        prompt = [*self._head, *self._ids(before)]
        suffix = len(self._ids(after)) + len(self._tail)
        arrays = [tokens.ids[start:stop] for start, stop in itertools.pairwise(tokens.offsets)]
        return [slice(_common_prefix(prompt, [array]), max(0, len(array) - suffix)) for array in arrays]

    def decode(self, ids: Sequence[NDArray[np.int32]]) -> list[str]:
        """Return the texts of sequences of ids; an incomplete character becomes a replacement character."""
        texts: list[str] = self._backend.decode_batch([array.tolist() for array in ids], skip_special_tokens=False)
        return texts

    def round_trip_ids(self) -> NDArray[np.bool_]:
        """Return a mask (V,) of the ids that survive decoding and tokenising, alone or after a letter.

        Special tokens and parts of a character never do.
        """
        size = max(self._backend.get_vocab(with_added_tokens=True).values(), default=-1) + 1
        allowed = np.zeros(size, dtype=np.bool_)
        for context in ([], self._ids("a")):
            texts = self._backend.decode_batch([[*context, token] for token in range(size)], skip_special_tokens=False)
            found = self._backend.encode_batch_fast(texts, add_special_tokens=False)
            allowed |= [encoding.ids == [*context, token] for token, encoding in enumerate(found)]
        special = [number for number, token in self._backend.get_added_tokens_decoder().items() if token.special]
        allowed[special] = False
        return allowed

    def ids_alone(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Return the ids of each text, whole and without special tokens."""
        encodings = self._backend.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.asarray(encoding.ids, dtype=np.int32) for encoding in encodings]

    @property
    def head_ids(self) -> list[int]:
        """The special tokens before every text, such as BOS."""
        return list(self._head)

    def token_id(self, token: str) -> int | None:
        """Return the id of one token; None where the vocabulary has none of this name."""
        found: int | None = self._backend.token_to_id(token)
        return found

    def for_pairs(self, *, segments: bool) -> PairTokenizer:
        """Return the tokenizer of pairs; with segments their ids tell the second text from the first."""
        return PairTokenizer(self._backend, segments=segments)

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._backend.encode(text, add_special_tokens=False).ids if text else []
        return ids


def _within(text: str, index: int) -> int:
    return min(max(index, 0), len(text))


def _unknown_id(backend: Tokenizer) -> int | None:
    """Return the id that stands for what the vocabulary lacks; None where every text is written in bytes."""
    rare = set(backend.encode("\U00013000 \U00012000", add_special_tokens=False).ids)  # hieroglyphs, cuneiform
    for name in (getattr(backend.model, "unk_token", None), "<unk>", "[UNK]"):
        found = None if name is None else backend.token_to_id(name)
        if found in rare:
            return int(found)
    return None


def _common_prefix(prompt: list[int], arrays: Sequence[NDArray[np.int32]]) -> int:
    """Return the length of the longest prefix of the prompt that starts all sequences; BPE may merge its end."""
    common = np.asarray(prompt, dtype=np.int32)
    for array in arrays:
        common = common[: len(array) - 1]
        differing = np.flatnonzero(array[: len(common)] != common)
        if len(differing):
            common = common[: differing[0]]
    return len(common)


def _special_ids(backend: Tokenizer) -> tuple[list[int], list[int]]:
    """Return the special tokens that the tokenizer adds before and after every text."""
    bare: list[int] = backend.encode("a", add_special_tokens=False).ids
    full: list[int] = backend.encode("a", add_special_tokens=True).ids
    for start in range(len(full) - len(bare) + 1):
        if full[start : start + len(bare)] == bare:
            return full[:start], full[start + len(bare) :]
    raise ModelError(
        "the tokenizer changes a text's own ids when it adds special tokens; want a tokenizer that does not"
    )
