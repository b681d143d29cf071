"""Which model and how to load and run it: one frozen value, checked before anything is read."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from reasonembed_rag.api_key import ApiKey
from reasonembed_rag.errors import InputError, want_one_of
from reasonembed_rag.spec import EmbeddingSpec

__all__ = ["CACHE_BYTES", "EncoderSettings"]

CACHE_BYTES = 4 << 30
"""Size limit of a vector cache where none is given."""

_MODEL = "a folder, a hub id, an alias or 'default'"
_ADAPTER = "a folder or a hub id"
_OPTIONAL = {
    "revision": "a branch, a tag or a commit",
    "adapter": f"{_ADAPTER}, or a mapping of names to them",
    "cache": "the path of a folder",
    "base_url": "an address such as http://localhost:8000/v1",
    "tokenizer": "a folder or a hub id",
}
"""What may be None or must be text of this meaning."""
_BACKENDS = ("auto", "torch", "onnx")
_BESIDE_SERVER = ("model", "base_url", "server_spec", "tokenizer", "api_key")


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderSettings:
    """Settings of an encoder; equal settings share one loaded model. None leaves a setting to the model's files.

    Raises InputError for values of wrong types and for settings that contradict each other. Paths become text, mappings
    and lists become tuples, so that settings can be compared, hashed and sent to another process.
    """

    model: str = "default"
    """"default", an alias, a folder, a hub id or, for shared_encoder, the name of a shared embedder."""
    revision: str | None = None
    adapter: str | None = None
    """A LoRA adapter to merge into the weights."""
    adapters: Mapping[str, str] | tuple[tuple[str, str], ...] = ()
    """LoRA adapters to choose from per call: name to folder or hub id. Kept as a tuple of pairs."""
    device: str | Sequence[str] | None = None
    """One device, or several that share the work. Several are kept as a tuple."""
    dtype: str = "auto"
    backend: Literal["auto", "torch", "onnx"] = "auto"
    """The engine; auto takes ONNX Runtime for encoders on a CPU in float32 or int8, torch for everything else."""
    max_query_length: int | None = None
    max_document_length: int | None = None
    truncate_dim: int | None = None
    """Keep only the first numbers of each vector (Matryoshka)."""
    token_budget: int | None = None
    """Most tokens in one forward pass: bounds the memory."""
    cache: str | os.PathLike[str] | None = None
    """Folder of a vector cache. Kept as text."""
    cache_bytes: int = CACHE_BYTES
    base_url: str | None = None
    """OpenAI-compatible server that holds the model, such as http://localhost:8000/v1."""
    server_spec: EmbeddingSpec | Mapping[str, Any] | None = None
    """Spec of the server's model, or the fields of one. Kept as an EmbeddingSpec."""
    tokenizer: str | None = None
    """Tokenizer that truncates texts before they are sent; without one the server truncates them."""
    api_key: str | None = field(default=None, repr=False)
    """Key of the server; dropped where there is no base_url, and never in a pickle."""

    def __post_init__(self) -> None:
        self._set("model", _as_text(self.model))
        self._set("adapter", _as_text(self.adapter))
        self._set("adapters", _pairs(self.adapters))
        self._set("cache", _as_text(self.cache))
        self._set("api_key", ApiKey(self.api_key) if isinstance(self.api_key, str) else self.api_key)
        self._set("device", _checked_device(self.device))
        self._check_names()
        for name in ("max_query_length", "max_document_length", "truncate_dim", "token_budget", "cache_bytes"):
            _check_count(name, getattr(self, name))
        self._check_server()

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _check_names(self) -> None:
        _check_name("the model", self.model, _MODEL)
        _check_name("dtype", self.dtype, "auto, float32, bfloat16, float16 or int8")
        if self.backend not in _BACKENDS:
            raise InputError(f"backend is {self.backend!r}; {want_one_of(self.backend, _BACKENDS)}")
        for name, adapter in dict(self.adapters).items():
            _check_name("the name of an adapter", name, "one or more letters")
            _check_name(f"adapter {name}", adapter, _ADAPTER)
        for name, wanted in _OPTIONAL.items():
            if getattr(self, name) is not None:
                _check_name(name, getattr(self, name), wanted)

    def _check_server(self) -> None:
        if self.base_url is None:
            if self.server_spec is not None or self.tokenizer is not None:
                raise InputError("got a server's spec or tokenizer without its base_url; give both or neither")
            self._set("api_key", None)
            return
        if self.server_spec is None:
            raise InputError(
                f"got base_url {self.base_url!r} without server_spec; want the spec of the server's model: the fields "
                "of its EmbeddingSpec, as encoder.spec gives them where the model can be loaded once"
            )
        if not isinstance(self.server_spec, EmbeddingSpec):
            self._set("server_spec", EmbeddingSpec.from_json(json.dumps(dict(self.server_spec))))
        if any(
            getattr(self, one.name) != one.default for one in dataclasses.fields(self) if one.name not in _BESIDE_SERVER
        ):
            raise InputError(
                f"{self.base_url} holds the model already; leave revision, adapter, device, dtype, backend, "
                "lengths, truncate_dim, token_budget and cache out"
            )


def _as_text(path: Any) -> Any:
    """Return a path as text, anything else unchanged, to be checked with the other settings."""
    return os.fspath(path) if isinstance(path, os.PathLike) else path


def _pairs(adapters: Any) -> tuple[tuple[Any, Any], ...]:
    items = adapters.items() if isinstance(adapters, Mapping) else adapters
    try:
        return tuple((name, _as_text(adapter)) for name, adapter in items)
    except (TypeError, ValueError) as error:
        raise InputError(f"adapters is {adapters!r}; want a mapping of names to folders or hub ids") from error


def _checked_device(device: Any) -> str | tuple[str, ...] | None:
    names = device if isinstance(device, list | tuple) else [device]
    if device is not None and not (names and all(isinstance(name, str) and name.strip() for name in names)):
        raise InputError(f"device is {device!r}; want a name such as 'cpu' or 'cuda:0', or a list of them")
    return tuple(names) if names is device else device


def _check_name(name: str, value: Any, wanted: str) -> None:
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{name} is {value!r}; want {wanted}")


def _check_count(name: str, value: Any) -> None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise InputError(f"{name} is {value!r}; want a whole number of at least 1")
