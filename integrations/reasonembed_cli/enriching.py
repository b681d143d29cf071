"""`reasonembed index --enrich`: the chat model, by its name or from a TOML file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from reasonembed_cli.chat_models import open_chat_settings
from reasonembed_rag.errors import InputError
from reasonembed_rag.files import read_toml, record_from
from reasonembed_rag.llm import CallSettings, ChatAccess, ChatModelSettings

__all__ = ["enriching_chat"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Settings:
    """What the file holds: the tables that a pipeline's file has for its chat model, too."""

    chat: ChatModelSettings
    calls: CallSettings = field(default_factory=CallSettings)


def enriching_chat(enrich: str) -> ChatAccess:
    """Return a chat model by name, such as openai:gpt-4o-mini, or from a file with [chat] and, optionally, [calls].

    Raises InputError for a file that cannot be read, unknown keys, and a model that cannot be opened.
    """
    if enrich.endswith(".toml"):
        path = Path(enrich)
        table = read_toml(path, kind="settings of a chat model", example="enrich.toml", error=InputError)
        settings: _Settings = record_from(_Settings, table, where=str(path), error=InputError)
    else:
        settings = _Settings(chat=ChatModelSettings(name=enrich))
    return ChatAccess(chat=open_chat_settings(settings.chat), model=settings.chat, calls=settings.calls)
