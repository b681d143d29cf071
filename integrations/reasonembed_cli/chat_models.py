"""Open chat models: those of a ReMixer run from its settings, or one by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reasonembed_rag.errors import InputError

if TYPE_CHECKING:
    from reasonembed_rag.llm import Chat, ChatModel, ChatModelSettings
    from reasonembed_training.remixer import ModelStage, RemixConfig, Stage

__all__ = ["missing_for_chat", "open_chat_model", "open_chat_settings", "open_models"]


def open_models(config: RemixConfig, *, until: Stage) -> dict[str, ChatModel]:
    """Return the model of each stage up to `until` that calls one.

    Raises InputError if a stage has no model, a name is unknown, or an API key is missing.
    """
    from reasonembed_training.remixer import MODEL_STAGES, STAGES

    stages = STAGES[: STAGES.index(until) + 1]
    return {stage: _model(config, stage) for stage in MODEL_STAGES if stage in stages and config.asks(stage)}


def open_chat_model(name: str, *, base_url: str | None) -> Chat:
    """Return a chat model by name, with the provider's default parameters."""
    from reasonembed_rag.llm import ChatModelSettings

    return open_chat_settings(ChatModelSettings(name=name, base_url=base_url))


def _model(config: RemixConfig, stage: ModelStage) -> ChatModel:
    from reasonembed_rag.llm import ChatModel
    from reasonembed_training.remixer import stage_config

    chosen = config.model_of(stage)
    if chosen is None:
        raise InputError(
            f"no model for {stage}; name one with --model, such as --model openai:gpt-4o-mini, or "
            f"--model {stage}=... for this stage alone"
        )
    settings = stage_config(chosen, stage)
    return ChatModel(open_chat_settings(settings), settings)


def open_chat_settings(settings: ChatModelSettings) -> Chat:
    """Return the chat model of these settings: an OpenAI-compatible server, or LangChain's.

    Raises InputError for an API key or a package that is missing, and for a name that LangChain does not know.
    """
    if settings.base_url is not None:
        from reasonembed_rag.llm import served_chat

        return served_chat(settings)
    missing = missing_for_chat(settings)
    if missing:
        raise InputError(missing)
    from langchain_reasonembed import open_chat

    return open_chat(settings.name, parameters=settings.parameters, timeout=settings.timeout)


def missing_for_chat(settings: ChatModelSettings) -> str:
    """Return what has to be installed before this chat model can be asked, "" where nothing is known to be missing."""
    from importlib.util import find_spec

    if settings.base_url is not None or find_spec("langchain_core") is not None:
        return ""
    return (
        f"{settings.name} is a model for LangChain, which is not installed: pip install langchain and the "
        "provider's package, such as langchain-openai; or name an OpenAI-compatible server: --base-url, or "
        "base_url in a file of settings"
    )
