"""Late interaction: vectors of all tokens of a query and a document, compared by MaxSim (ColBERT, PyLate)."""

from __future__ import annotations

import functools
import hashlib
import os
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from reasonembed_rag.backbone import EncoderSettings, find_bare_source, find_model, read_json, read_transformer_config
from reasonembed_rag.encoder import distinct, load_token_states, plan_packs, report_truncation
from reasonembed_rag.errors import InputError, ModelError
from reasonembed_rag.files import check_texts
from reasonembed_rag.forks import ForkLock, run_in_own_thread
from reasonembed_rag.protocols import Usage
from reasonembed_rag.rerank.colbert_folder import read_late_settings, read_projections
from reasonembed_rag.rerank.ordering import rerank_by
from reasonembed_rag.rerank.token_vectors import TokenVectors, max_similarity, text_digest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from reasonembed_rag.backbone import TextTokenizer
    from reasonembed_rag.documents import Document
    from reasonembed_rag.encoder import LoadedTokenStates
    from reasonembed_rag.hits import Hits
    from reasonembed_rag.rerank.colbert_folder import LateSettings
    from reasonembed_rag.spec import EmbeddingSpec

__all__ = ["LateInteraction"]

_BUDGET = 2048
_LEAST_NORM = 1e-12
_MASKS = ("[MASK]", "<mask>")


class LateInteraction:
    """Encode texts as one vector per token and score by MaxSim; a Reranker over the candidates' texts.

    Build it with from_pretrained. `stored` holds token vectors of documents that are not computed again.
    """

    def __init__(
        self,
        loaded: LoadedTokenStates,
        settings: LateSettings,
        projections: Sequence[NDArray[np.float32]],
        *,
        mask_id: int | None,
        stored: TokenVectors | None = None,
    ) -> None:
        self._run, self._settings = loaded.run, settings
        self._spec, self._tokenizer = loaded.description.spec, loaded.description.tokenizer
        self._projections = tuple(projections)
        self._mask_id = mask_id
        self._prefixes = [
            _prefix_id(self._tokenizer, prefix, self._spec.model)
            for prefix in (settings.query_prefix, settings.document_prefix)
        ]
        found = [self._tokenizer.token_id(word) for word in settings.skipped_words]
        self._skipped = np.asarray([number for number in found if number is not None], np.int32)
        self._lock = ForkLock()
        self._tokens = 0
        if stored is not None and stored.model != self.digest:
            raise InputError("stored token vectors are of another model, or of other settings; encode them again")
        self._stored = stored

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | os.PathLike[str],
        *,
        revision: str | None = None,
        device: str | None = None,
        dtype: str = "auto",
        backend: Literal["auto", "torch", "onnx"] = "auto",
        stored: TokenVectors | None = None,
    ) -> LateInteraction:
        """Load a model that PyLate saved, such as lightonai/Reason-ModernColBERT: a folder or a hub id.

        Prefixes, lengths, query expansion, the skip list and the projection are those of its files. Raises ModelError
        for a folder that is not one, InputError for settings that it does not support and for stored vectors of another
        model, MissingDependencyError for a model that needs torch where that is missing.
        """
        folder = find_model(os.fspath(name_or_path), revision=revision)
        late, projections = read_late_settings(folder), read_projections(folder)
        if _has_blind_tokens(read_transformer_config(folder), late):
            if backend == "onnx":
                raise InputError(
                    f"backend is 'onnx', where mask tokens beyond the attention window of {folder} get other states "
                    "than in PyLate; want backend='auto'"
                )
            backend = "torch"
        settings = EncoderSettings(
            model=os.fspath(name_or_path), revision=revision, device=device, dtype=dtype, backend=backend
        )
        source = find_bare_source(settings, pooling="mean")
        loaded = load_token_states(settings, source)
        mask_id = _mask_id(loaded.description.tokenizer, source.facts.transformer_folder) if late.expands else None
        return cls(loaded, late, projections, mask_id=mask_id, stored=stored)

    @property
    def spec(self) -> EmbeddingSpec:
        """The settings of the model whose token states are projected."""
        return self._spec

    @property
    def settings(self) -> LateSettings:
        """How the model reads texts."""
        return self._settings

    @property
    def dimension(self) -> int:
        """The length of every vector."""
        return len(self._projections[-1])

    @property
    def digest(self) -> str:
        """32 hexadecimal digits of the model, its projections and how it reads texts: what token vectors depend on."""
        digest = hashlib.blake2b(f"{self._spec.weights} {self._settings} {self._spec.dtype}".encode(), digest_size=16)
        for matrix in self._projections:
            digest.update(np.ascontiguousarray(matrix).tobytes())
        return digest.hexdigest()

    def encode_queries(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        """Return the unit vectors (tokens, dimension) of each query, those of mask tokens included.

        Raises InputError for a query that is empty or not a string.
        """
        checked = check_texts(texts, kind="texts", allow_empty=False)
        ids = self._ids(checked, self._prefixes[0], self._settings.query_length)
        attended = [len(row) for row in ids]
        if self._mask_id is not None:
            mask_id, length = np.int32(self._mask_id), self._settings.query_length
            ids = [np.pad(row, (0, length - len(row)), constant_values=mask_id) for row in ids]
            attended = [length] * len(ids) if self._settings.attends_to_expansion else attended
        return self._vectors(ids, attended)

    def encode_documents(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        """Return the unit vectors (tokens, dimension) of each document, without those of the skip list.

        Raises InputError for a document that is not a string.
        """
        checked = check_texts(texts, kind="texts", allow_empty=True)
        ids = self._ids(checked, self._prefixes[1], self._settings.document_length)
        vectors = self._vectors(ids, [len(row) for row in ids])
        return [found[~np.isin(row, self._skipped)] for row, found in zip(ids, vectors, strict=True)]

    def encode_corpus(
        self, documents: Sequence[Document], *, dtype: Literal["float16", "float32"] = "float16"
    ) -> TokenVectors:
        """Return the token vectors of documents, to be stored: by default in 16 bits, half of what they take."""
        vectors = self.encode_documents([document.content for document in documents])
        offsets = np.zeros(len(vectors) + 1, np.int64)
        np.cumsum([len(found) for found in vectors], out=offsets[1:])
        return TokenVectors(
            model=self.digest,
            ids=tuple(document.id for document in documents),
            texts=tuple(text_digest(document.content) for document in documents),
            vectors=np.concatenate([np.empty((0, self.dimension), np.float32), *vectors]).astype(dtype),
            offsets=offsets,
        )

    def score(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        """Return MaxSim (n,) of pairs of a query and a document, in input order; each text is encoded once."""
        scores = np.empty(len(pairs), np.float32)
        unique = distinct([document for _, document in pairs])
        vectors = self.encode_documents([pairs[row][1] for row in unique.first])
        self._fill(scores, pairs, [vectors[number] for number in unique.inverse])
        return scores

    def rerank(self, queries: Sequence[str], hits: Sequence[Hits], *, k: int | None = None) -> list[Hits]:
        """Return each query's hits by MaxSim; the first k, or all. Raises InputError for hits without documents."""
        by_text = {} if self._stored is None else self._stored_texts(hits, self._stored)

        def score(pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
            missing = list(dict.fromkeys(document for _, document in pairs if document not in by_text))
            known = by_text | dict(zip(missing, self.encode_documents(missing), strict=True))
            scores = np.empty(len(pairs), np.float32)
            self._fill(scores, pairs, [known[document] for _, document in pairs])
            return scores

        return rerank_by(score, queries, hits, k=k)

    def usage(self) -> Usage:
        """Return the tokens computed so far, of queries and documents together, as those of queries."""
        return Usage(query_tokens=self._tokens)

    def _stored_texts(self, hits: Sequence[Hits], stored: TokenVectors) -> dict[str, NDArray[np.float32 | np.float16]]:
        documents = [document for found in hits for document in found.documents or ()]
        vectors = [(document.content, stored.find(document)) for document in documents]
        return {text: found for text, found in vectors if found is not None}

    def _fill(
        self,
        scores: NDArray[np.float32],
        pairs: Sequence[tuple[str, str]],
        vectors: Sequence[NDArray[np.float32 | np.float16]],
    ) -> None:
        rows_of: dict[str, list[int]] = {}
        for row, (query, _) in enumerate(pairs):
            rows_of.setdefault(query, []).append(row)
        encoded = self.encode_queries(list(rows_of)) if rows_of else []
        for query_QD, rows in zip(encoded, rows_of.values(), strict=True):
            offsets = np.cumsum([0, *(len(vectors[row]) for row in rows)])
            scores[rows] = max_similarity(query_QD, np.concatenate([vectors[row] for row in rows]), offsets)

    def _ids(self, texts: Sequence[str], prefix: int | None, length: int) -> list[NDArray[np.int32]]:
        """Return the ids of texts with the prefix behind the first token, at most `length` in all."""
        tokens = self._tokenizer(texts, before="", after="", max_length=length - (prefix is not None))
        report_truncation(tokens.truncated, max_length=length, tokens=tokens.unread)
        rows = tokens.rows(np.arange(len(texts)))
        return rows if prefix is None else [np.insert(row, 1, np.int32(prefix)) for row in rows]

    def _vectors(self, ids: Sequence[NDArray[np.int32]], attended: Sequence[int]) -> list[NDArray[np.float32]]:
        """Return the projected unit vectors of every token of sequences."""
        lengths = np.asarray([len(row) for row in ids], np.int64)
        found: list[NDArray[np.float32]] = [np.empty((0, self.dimension), np.float32)] * len(ids)
        with self._lock:
            for rows in plan_packs(lengths, budget=_BUDGET):
                inputs = [ids[row] for row in rows], [attended[row] for row in rows]
                states = run_in_own_thread(functools.partial(self._run, *inputs))
                for row, own in zip(rows, states, strict=True):
                    found[row] = self._projected(own)
            self._tokens += int(lengths.sum())
        return found

    def _projected(self, states_LD: NDArray[np.float32]) -> NDArray[np.float32]:
        for matrix in self._projections:
            states_LD = states_LD @ matrix.T
        norms_L1 = np.sqrt(np.square(states_LD).sum(axis=1, keepdims=True))
        vectors_LD: NDArray[np.float32] = states_LD / np.maximum(norms_L1, _LEAST_NORM)
        return vectors_LD


def _has_blind_tokens(config: Mapping[str, Any], late: LateSettings) -> bool:
    """Return whether mask tokens can be too far from every token that they may attend to.

    What attention gives where everything is masked is a matter of the library, and the model learnt with torch's.
    """
    window = int(config.get("local_attention") or 0) // 2
    return late.expands and not late.attends_to_expansion and 0 < window < late.query_length


def _prefix_id(tokenizer: TextTokenizer, prefix: str, model: str) -> int | None:
    if not prefix:
        return None
    found = tokenizer.token_id(prefix)
    if found is None:
        raise ModelError(f"{model}: its tokenizer has no token {prefix!r}, which starts its texts; copy all its files")
    return found


def _mask_id(tokenizer: TextTokenizer, folder: Path) -> int:
    path = folder / "tokenizer_config.json"
    named = read_json(path).get("mask_token") if path.is_file() else None
    name = named.get("content") if isinstance(named, dict) else named
    for candidate in (name, *_MASKS):
        found = tokenizer.token_id(candidate) if isinstance(candidate, str) else None
        if found is not None:
            return found
    raise ModelError(f"{folder}: its tokenizer has no mask token, with which queries are filled up")
