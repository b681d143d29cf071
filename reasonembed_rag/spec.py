"""EmbeddingSpec: everything that determines a vector, in one frozen value stored with it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Any, Literal, get_args

from reasonembed_rag.errors import InputError, want_one_of

__all__ = ["Attention", "Backend", "EmbeddingSpec", "Pooling"]

Pooling = Literal["last", "mean", "cls"]
Attention = Literal["causal", "bidirectional"]
Backend = Literal["torch", "onnx"]

_INSTRUCTION = "{instruction}"
_TEXT = "{text}"
_OUTSIDE_SPACE = (
    "backend", "dtype", "max_query_length", "max_document_length", "query_template", "default_instruction",
    "query_map", "enrichment",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingSpec:
    """The settings that determine a model's vectors: equal specs give equal vectors for equal texts."""

    model: str
    """Name as given by the user: hub id, folder or alias."""
    revision: str | None = None
    adapter: str | None = None
    weights: str | None = None
    """Fingerprint of the weight files, adapter included; None if they are not accessible (a remote server)."""
    pooling: Pooling
    attention: Attention
    query_template: str = _TEXT
    """Contains {text} once and, for instruction-tuned models, {instruction} once before it."""
    document_template: str = _TEXT
    default_instruction: str | None = None
    """Fills {instruction} if a call gives neither a task nor an instruction."""
    append_eos: bool = False
    pool_prompt: bool = True
    """Whether mean pooling counts the tokens of the template before {text} (False for GritLM and ReasonIR)."""
    max_query_length: int
    max_document_length: int
    normalize: bool = True
    dimension: int
    dtype: str = "float32"
    backend: Backend = "torch"
    """What computed the vectors; they are equal but for int8, which each quantises its own way."""
    query_map: str | None = None
    """Fingerprint of what maps the vectors of queries after the model, such as a dense reasoner."""
    enrichment: str | None = None
    """What wrote the texts that the vectors of documents have a half of, such as a chat model and its prompt."""

    def __post_init__(self) -> None:
        if self.backend not in get_args(Backend):
            raise InputError(f"backend is {self.backend!r}; {want_one_of(self.backend, get_args(Backend))}")
        if self.pooling not in get_args(Pooling):
            raise InputError(f"pooling is {self.pooling!r}; {want_one_of(self.pooling, get_args(Pooling))}")
        if self.attention not in get_args(Attention):
            raise InputError(f"attention is {self.attention!r}; {want_one_of(self.attention, get_args(Attention))}")
        for name in ("query_template", "document_template"):
            template: str = getattr(self, name)
            if template.count(_TEXT) != 1:
                raise InputError(f"{name} is {template!r}; want {_TEXT} in it exactly once")
        if _INSTRUCTION in self.document_template:
            raise InputError(f"document_template is {self.document_template!r}; documents take no instruction")
        if self.takes_instruction and self.default_instruction is None:
            raise InputError("query_template takes an instruction; want default_instruction with it")
        for name in ("max_query_length", "max_document_length", "dimension"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; want at least 1")

    @property
    def takes_instruction(self) -> bool:
        """Whether queries are prefixed with an instruction."""
        return _INSTRUCTION in self.query_template

    def query_affixes(self, instruction: str | None) -> tuple[str, str]:
        """Return the template before and after a query's text, with `instruction` or the default one."""
        filled = self.query_template
        if self.takes_instruction:
            filled = filled.replace(_INSTRUCTION, _escape(instruction or self.default_instruction or ""), 1)
        return _affixes(filled)

    def document_affixes(self) -> tuple[str, str]:
        """Return the template before and after a document's text."""
        return _affixes(self.document_template)

    def digest(self) -> str:
        """Return 32 hexadecimal digits that change with any field that vectors depend on: the key of caches."""
        fields = self._fields()
        if self.dtype != "int8" or self.backend == "torch":
            del fields["backend"]
        return _digest(fields)

    def space(self) -> str:
        """Return 32 hexadecimal digits shared by every spec whose queries may search this one's documents.

        Excluded are fields that may differ between indexing and search without leaving the vector space: the backend,
        the number format, the lengths, the query's template and instruction, the documents' enrichment and, if the
        weights are known, the model's name.
        """
        fields = dataclasses.asdict(self)
        for name in _OUTSIDE_SPACE:
            del fields[name]
        if self.weights is not None:
            for name in ("model", "revision", "adapter"):
                del fields[name]
        return _digest(fields)

    def to_json(self) -> str:
        """Return the spec as one JSON object; from_json reads it back."""
        return json.dumps(self._fields(), ensure_ascii=False, sort_keys=True)

    def _fields(self) -> dict[str, Any]:
        """Return the fields by name; later ones are left out where they are None, as earlier versions wrote them."""
        fields = dataclasses.asdict(self)
        for name in ("query_map", "enrichment"):
            if fields[name] is None:
                del fields[name]
        return fields

    @classmethod
    def from_json(cls, text: str) -> EmbeddingSpec:
        """Read a spec that to_json wrote; raises InputError for unknown or missing fields."""
        try:
            fields: dict[str, Any] = json.loads(text)
            return cls(**fields)
        except (json.JSONDecodeError, TypeError) as error:
            raise InputError(
                f"not an embedding spec: {error}; want the JSON that EmbeddingSpec.to_json wrote"
            ) from error


_ESCAPED_TEXT = "\0text\0"


def _escape(instruction: str) -> str:
    """Distinguish {text} within an instruction from the template's placeholder."""
    return instruction.replace(_TEXT, _ESCAPED_TEXT)


def _affixes(template: str) -> tuple[str, str]:
    before, _, after = template.partition(_TEXT)
    return before.replace(_ESCAPED_TEXT, _TEXT), after.replace(_ESCAPED_TEXT, _TEXT)


def _digest(fields: dict[str, Any]) -> str:
    canonical = json.dumps(fields, ensure_ascii=False, sort_keys=True).encode()
    return hashlib.blake2b(canonical, digest_size=16).hexdigest()
