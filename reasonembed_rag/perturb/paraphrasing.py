"""Paraphrased queries, by any function from text to text, such as a chat model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from reasonembed_rag.errors import ChatError
from reasonembed_rag.llm import Answer, Chat, RetryPolicy, with_retries
from reasonembed_rag.perturb.edits import Edit, PerturbedQuery, edited, unchanged
from reasonembed_rag.perturb.selection import reason_to_keep
from reasonembed_rag.perturb.wording import words_of

__all__ = ["Paraphraser", "chat_paraphraser", "paraphrase"]

Paraphraser = Callable[[str], str | Answer]
"""Rewords a text: a paraphrase model, back-translation, a chat model behind a prompt."""

_PROMPT = """Say the search query below in other words. Keep its meaning, its language and its level of detail; keep
names, numbers, code and formulae as they are. Do not answer it. Reply with the new query alone.

{query}"""


_RETRY = RetryPolicy(attempts=4, longest_wait=20.0)


def chat_paraphraser(chat: Chat, *, retry: RetryPolicy = _RETRY) -> Paraphraser:
    """Return the paraphraser that asks a chat model, which is called again after failures that may pass."""
    patient = with_retries(chat, retry)
    return lambda text: patient(_PROMPT.replace("{query}", text))


def paraphrase(texts: Sequence[str], paraphraser: Paraphraser, *, workers: int = 1) -> list[PerturbedQuery]:
    """Return a paraphrase of each text; equal texts are paraphrased once, `workers` at a time.

    A query for which the paraphraser raises or returns nothing stays unchanged. Raises ChatError where that happens to
    every query.
    """
    reasons = {text: reason_to_keep(text, words_of(text), english=False) for text in texts}
    asked = [text for text, reason in reasons.items() if reason is None]
    with ThreadPoolExecutor(max_workers=workers) as pool:
        answers = dict(zip(asked, pool.map(lambda text: _ask(paraphraser, text), asked), strict=True))
    failures = [answer for answer in answers.values() if isinstance(answer, Exception)]
    if asked and len(failures) == len(asked):
        raise ChatError(
            f"the paraphraser failed for all {len(asked)} queries, the last with {failures[-1]!r}"
        ) from failures[-1]
    return [unchanged(text, reason) if (reason := reasons[text]) else _variant(text, answers[text]) for text in texts]


def _ask(paraphraser: Paraphraser, text: str) -> str | Exception:
    try:
        answer = paraphraser(text)
    except Exception as error:  # noqa: BLE001  # any callable may raise anything; the query is counted as unchanged
        return error
    return (answer.text if isinstance(answer, Answer) else answer).strip()


def _variant(text: str, answer: str | Exception) -> PerturbedQuery:
    if isinstance(answer, Exception) or not answer:
        return unchanged(text, "the paraphraser failed")
    if answer == text.strip():
        return unchanged(text, "the paraphraser changed nothing")
    return edited(text, "paraphraser", [Edit(0, "paraphrase", text, answer)])
