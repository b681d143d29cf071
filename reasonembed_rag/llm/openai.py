"""A chat model behind an OpenAI-compatible server: vLLM, SGLang, Ollama, llama.cpp, OpenAI itself."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from reasonembed_rag.errors import ChatError, InputError
from reasonembed_rag.llm.api_client import ApiClient
from reasonembed_rag.llm.chat import Answer
from reasonembed_rag.llm.settings import ChatModelSettings

if TYPE_CHECKING:
    from types import TracebackType

    import httpx

__all__ = ["OpenAIChat", "served_chat"]

_MAX_MESSAGE = 500


class OpenAIChat:
    """Answer prompts through POST base_url/chat/completions.

    Threads may share it: connections are kept alive, proxies are taken from the environment as httpx does. The key is
    part of no repr or error. `parameters` are sent as they are, temperature and max_tokens among them. Nothing is
    retried here: see with_retries and complete_all. Raises InputError for a base_url or key that cannot be used.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        api_key: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        parameters: Mapping[str, Any] | None = None,
        timeout: float = 300.0,
        transport: httpx.BaseTransport | httpx.AsyncBaseTransport | None = None,
    ) -> None:
        named = {"temperature": temperature, "max_tokens": max_tokens}
        given = {name: value for name, value in named.items() if value is not None}
        if twice := given.keys() & (parameters or {}).keys():
            raise InputError(f"{', '.join(sorted(twice))} is an argument and in parameters; want it in one of them")
        self.model = model
        self.parameters = {**given, **(parameters or {})}
        self._api = ApiClient(base_url, api_key=api_key, timeout=timeout, transport=transport)

    def __repr__(self) -> str:
        return f"OpenAIChat({self.base_url!r}, {self.model!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def base_url(self) -> str:
        """The server's URL, without a slash at the end."""
        return self._api.base_url

    def __call__(self, prompt: str) -> Answer:
        """Return the answer to a prompt.

        Raises ChatError where none comes: with the status and Retry-After of a refusal, with neither where the
        connection fails or the reply is not a chat completion.
        """
        return _answer(self._api.post("chat/completions", self._body(prompt)), where=self.base_url)

    def at_temperature(self, prompt: str, temperature: float) -> Answer:
        """Return the answer to a prompt at this temperature; raises what a call raises."""
        body = {**self._body(prompt), "temperature": temperature}
        return _answer(self._api.post("chat/completions", body), where=self.base_url)

    async def acomplete(self, prompt: str) -> Answer:
        """Return the answer to a prompt without blocking the event loop; raises what a call raises."""
        return _answer(await self._api.apost("chat/completions", self._body(prompt)), where=self.base_url)

    def close(self) -> None:
        """Close the connections; later calls raise ChatError."""
        self._api.close()

    async def aclose(self) -> None:
        """Close the connections, those of acomplete in this event loop included."""
        await self._api.aclose()

    def _body(self, prompt: str) -> dict[str, Any]:
        return {"model": self.model, "messages": [{"role": "user", "content": prompt}], **self.parameters}


def served_chat(settings: ChatModelSettings) -> OpenAIChat:
    """Return the chat model of the server at the settings' base_url, whose key is in the environment.

    Raises InputError for no base_url, and for a server on the internet without a key.
    """
    url = settings.base_url
    if url is None:
        raise InputError(f"{settings.name} has no base_url; want an OpenAI-compatible server's, ending in /v1")
    key = os.environ.get(settings.api_key_env) or None
    if key is None and url.startswith("https://"):
        raise InputError(
            f"no API key for {url}: set the environment variable {settings.api_key_env}, or choose another with "
            "--set model.api_key_env=NAME, api_key_env in a [chat] table (any value will do if the server needs no key)"
        )
    return OpenAIChat(url, settings.name, api_key=key, parameters=settings.parameters, timeout=settings.timeout)


def _answer(content: bytes, *, where: str) -> Answer:
    try:
        reply = json.loads(content)
        choice = reply["choices"][0]
        text = choice["message"].get("content") or ""
        usage = reply.get("usage") or {}
        text = text if isinstance(text, str) else "".join(part["text"] for part in text)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        got = content.decode(errors="replace")[:_MAX_MESSAGE]
        raise ChatError(f"{where} sent no chat completion ({error!r}): {got}; is the URL correct?") from error
    return Answer(
        text,
        truncated=choice.get("finish_reason") == "length",
        input_tokens=_count(usage.get("prompt_tokens")),
        output_tokens=_count(usage.get("completion_tokens")),
    )


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
