"""Queries said in other words by any function from text to text, a chat model for one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from reasonembed_rag.errors import ChatError
from reasonembed_rag.llm import Answer, Chat
from reasonembed_rag.perturb.edits import Edit, Variant, kept, varied
from reasonembed_rag.perturb.selection import obstacle
from reasonembed_rag.perturb.wording import words_of

__all__ = ["Paraphraser", "chat_paraphraser", "paraphrase"]

Paraphraser = Callable[[str], str | Answer]
"""Says a text in other words: a paraphrase model, a translation there and back, a chat model behind a prompt."""

_PROMPT = """Say the search query below in other words. Keep its meaning, its language and its level of detail; keep
names, numbers, code and formulae as they are. Do not answer it. Reply with the new query alone.

{query}"""


def chat_paraphraser(chat: Chat) -> Paraphraser:
    """Return the paraphraser that asks a chat model."""
    return lambda text: chat(_PROMPT.replace("{query}", text))


def paraphrase(texts: Sequence[str], paraphraser: Paraphraser, *, workers: int = 1) -> list[Variant]:
    """Return each text in the paraphraser's words; it is asked once for a text, `workers` at a time.

    A query for which it raises or says nothing stays as it is. Raises ChatError where that happens to every query.
    """
    reasons = {text: obstacle(text, words_of(text), english=False) for text in texts}
    asked = [text for text, reason in reasons.items() if reason is None]
    with ThreadPoolExecutor(max_workers=workers) as pool:
        answers = dict(zip(asked, pool.map(lambda text: _ask(paraphraser, text), asked), strict=True))
    failures = [answer for answer in answers.values() if isinstance(answer, Exception)]
    if asked and len(failures) == len(asked):
        raise ChatError(
            f"the paraphraser failed for every one of {len(asked)} queries, last with {failures[-1]!r}"
        ) from failures[-1]
    return [kept(text, reason) if (reason := reasons[text]) else _variant(text, answers[text]) for text in texts]


def _ask(paraphraser: Paraphraser, text: str) -> str | Exception:
    try:
        answer = paraphraser(text)
    except Exception as error:  # noqa: BLE001  # a foreign callable may raise anything; the query is counted as kept
        return error
    said = answer.text if isinstance(answer, Answer) else answer
    return said.strip()


def _variant(text: str, answer: str | Exception) -> Variant:
    if isinstance(answer, Exception) or not answer:
        return kept(text, "the paraphraser failed")
    if answer == text.strip():
        return kept(text, "the paraphraser changed nothing")
    return varied(text, "paraphraser", [Edit(0, "paraphrase", text, answer)])
