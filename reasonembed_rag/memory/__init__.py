"""Latent memory, a GRC-style reconstruction: embed, compress and generate with k latent tokens behind a text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reasonembed_rag.lazy import Dependency, lazy_face

if TYPE_CHECKING:
    from reasonembed_rag.memory.answering import MemoryAnswers
    from reasonembed_rag.memory.chat_format import ChatFormat
    from reasonembed_rag.memory.encoder import LatentEncoder
    from reasonembed_rag.memory.folder import LoadedLatent, create_latent, is_latent_folder, load_latent, save_latent
    from reasonembed_rag.memory.generation import GenerationSettings
    from reasonembed_rag.memory.memories import Memory
    from reasonembed_rag.memory.model import REPEAT, LatentModel, LatentReading
    from reasonembed_rag.memory.settings import LatentSettings
    from reasonembed_rag.memory.store import BuildReport, MemoryStore

__all__ = [
    "REPEAT",
    "BuildReport",
    "ChatFormat",
    "GenerationSettings",
    "LatentEncoder",
    "LatentModel",
    "LatentReading",
    "LatentSettings",
    "LoadedLatent",
    "Memory",
    "MemoryAnswers",
    "MemoryStore",
    "create_latent",
    "is_latent_folder",
    "load_latent",
    "save_latent",
]

__getattr__, __dir__ = lazy_face(__name__, needs=Dependency("torch", "torch and transformers", "torch"))
