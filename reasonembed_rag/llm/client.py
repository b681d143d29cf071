"""One call of a chat model: held to its limits, made again after passing failures, journaled before it is used."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from reasonembed_rag.errors import ChatError
from reasonembed_rag.llm.cache import Entry, Journal
from reasonembed_rag.llm.chat import Answer
from reasonembed_rag.llm.config import CallConfig
from reasonembed_rag.llm.limits import Pace, back_off
from reasonembed_rag.llm.model import ChatModel, answer_key, estimated_tokens
from reasonembed_rag.llm.retry import failure_of

__all__ = ["FAILED", "OVER_CONTEXT", "Ask", "Caller", "Reply"]

OVER_CONTEXT = "over the model's context"
FAILED = "call failed"


@dataclass(frozen=True, slots=True)
class Ask:
    """A prompt; the same one asked again has another attempt."""

    prompt: str
    attempt: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came of an Ask: an answer, or a failure that lasts or may pass by the next run."""

    answer: Answer | None = None
    failure: str | None = None
    lasting: bool = True
    retries: int = 0
    sent: bool = True
    """Whether the model was called for it in this run."""
    remembered: bool = False
    """Whether it was called for it in an earlier one."""

    @property
    def reason(self) -> str:
        """Why there is no answer, in the words under which drops are counted."""
        if "context" in (self.failure or "").casefold():
            return OVER_CONTEXT
        return FAILED if self.lasting else "call failed, may pass"


class Caller:
    """Ask one model for one stage; many threads may call at once.

    After `stop` is set no further call is made, those under way are finished and journaled.
    """

    def __init__(
        self, model: ChatModel, *, stage: str, journal: Journal, config: CallConfig, stop: threading.Event
    ) -> None:
        self.model = model
        self.stage = stage
        self.config = config
        self.stop = stop
        self._journal = journal
        self._pace = Pace(model.config, rest=stop.wait)

    def key(self, ask: Ask) -> bytes:
        """Return the journal's key of an Ask."""
        return answer_key(self.model.config, self.stage, ask.prompt, attempt=ask.attempt)

    def remembered(self, key: bytes) -> Reply | None:
        """Return what the journal holds; of failures nothing, where they are to be tried again."""
        entry = self._journal.get(key)
        if entry is None or (entry.answer is None and self.config.retry_failed):
            return None
        return Reply(answer=entry.answer, failure=entry.failure, sent=False, remembered=True)

    def call(self, key: bytes, ask: Ask) -> Reply | None:
        """Return the reply to an Ask; None where it was stopped before a call that could bring one.

        Raises ChatError where no call can succeed, TrainingError where the journal cannot be written.
        """
        expected = estimated_tokens(ask.prompt)
        room = self.model.config.context
        if expected + self.model.config.longest_answer > room:
            return Reply(failure=f"about {expected} tokens and an answer exceed the context of {room}", sent=False)
        expected += self.model.config.longest_answer // 4  # few answers are as long as they may be
        for attempt in range(1, self.config.attempts + 1):
            if self.stop.is_set() or not self._pace.wait(expected):
                return None
            try:
                answer = self.model.answer(ask.prompt)
            except Exception as error:  # noqa: BLE001 - any client's exception, told apart below
                reply = self._failed(key, error, attempt)
                if reply is not None:
                    return reply
            else:
                self._journal.add(key, Entry(answer), stage=self.stage, model=self.model.config.name)
                used = (answer.input_tokens or 0) + (answer.output_tokens or 0)
                self._pace.settle(expected=expected, used=used)
                return Reply(answer=answer, retries=attempt - 1)
        return None

    def _failed(self, key: bytes, error: Exception, attempt: int) -> Reply | None:
        """Return the reply that a failure comes to; None, after a wait, where the call is to be made again."""
        failure = failure_of(error)
        if failure.kind == "fatal":
            raise ChatError(f"{self.model.config.name} cannot be asked ({failure.message}); {failure.cure}")
        if failure.kind == "lasting":
            entry = Entry(None, failure.message)
            self._journal.add(key, entry, stage=self.stage, model=self.model.config.name)
            return Reply(failure=failure.message, retries=attempt - 1)
        if failure.retry_after:
            self._pace.pause(min(failure.retry_after, self.config.longest_wait))
        if attempt == self.config.attempts or failure.kind == "unclear":
            return Reply(failure=failure.message, lasting=False, retries=attempt - 1)
        self.stop.wait(back_off(attempt, self.config))
        return None
