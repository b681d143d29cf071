"""Chat models for tests of reranking and iterating: scripted, counted, safe to call from threads."""

from __future__ import annotations

import re
import threading
from collections import Counter

from reasonembed_rag.documents import Document
from reasonembed_rag.hits import Hits
from reasonembed_rag.llm import CallSettings, ChatAccess, ChatModelSettings

FAST = CallSettings(first_wait=0.0, concurrency=4)
_DOCUMENT = re.compile(r"<document>\n(.*?)\n</document>", re.DOTALL)


class ScriptedChat:
    """Answers with what a function of the prompt and its number of earlier calls returns; an exception is raised."""

    def __init__(self, answer) -> None:
        self.answer = answer
        self.calls: Counter[str] = Counter()
        self.temperatures: list[float | None] = []
        self._lock = threading.Lock()

    def __call__(self, prompt: str):
        return self.at_temperature(prompt, None)

    def at_temperature(self, prompt: str, temperature: float | None):
        with self._lock:
            before = self.calls[prompt]
            self.calls[prompt] += 1
            self.temperatures.append(temperature)
        answer = self.answer(prompt, before)
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def prompts(self) -> list[str]:
        return list(self.calls)


def access_to(answer, *, calls: CallSettings = FAST, pilot: int | None = None, cache=None, **settings) -> ChatAccess:
    chat = answer if isinstance(answer, ScriptedChat) else ScriptedChat(answer)
    return ChatAccess(chat=chat, model=ChatModelSettings(name="m", **settings), calls=calls, pilot=pilot, cache=cache)


def documents_in(prompt: str) -> list[str]:
    return _DOCUMENT.findall(prompt)


def hits_of(texts) -> Hits:
    """Return hits in the order of a mapping from ids to texts."""
    documents = tuple(Document(identity, text) for identity, text in texts.items())
    return Hits(tuple(texts), list(range(len(texts), 0, -1)), documents)
