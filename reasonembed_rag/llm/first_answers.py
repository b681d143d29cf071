"""Look at a stage's first answers, before the others are paid for."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from reasonembed_rag.errors import ChatError
from reasonembed_rag.llm.chat import Answer

__all__ = ["FirstAnswers", "SeenAnswer"]

_SHOWN = 3
_SHOWN_CHARACTERS = 160


@dataclass(frozen=True, slots=True)
class SeenAnswer:
    """An answer's text, and the reason why it is unusable if it is."""

    text: str
    reason: str | None = None

    def __str__(self) -> str:
        return f"{self.reason}: {' '.join(self.text.split())[:_SHOWN_CHARACTERS]!r}"


class FirstAnswers:
    """Count a stage's answers, and decide by its first `number` whether it goes on; threads may share it.

    Without `go_on` it stops where more than half of them are unusable; `otherwise` says what the caller can do to go
    on regardless. None looks at no answer.
    """

    def __init__(
        self,
        number: int | None,
        *,
        stage: str,
        model: str,
        otherwise: str,
        go_on: Callable[[Sequence[SeenAnswer]], bool] | None = None,
    ) -> None:
        self._number = number or 0
        self._stage, self._model, self._otherwise = stage, model, otherwise
        self._go_on = go_on
        self._lock = threading.RLock()  # a job that is dropped while it is held gives back what it asked
        self._looked_at = 0
        self._asked = 0
        self._unusable: Counter[str] = Counter()
        self._seen: list[SeenAnswer] = []
        self._stopped: str | None = None

    def ask(self, number: int) -> int:
        """Return how many of `number` answers to ask for now, at least 1; the caller says `add` or `lose` of each.

        At first no more are under way than are still to be looked at, and one for each caller that comes later.
        """
        with self._lock:
            ahead = self._number - self._looked_at
            if ahead > 0:
                number = max(1, min(number, ahead - self._asked))
            self._asked += number
            return number

    def lose(self, number: int = 1) -> None:
        """Take back answers that were asked for and did not come."""
        with self._lock:
            self._asked = max(self._asked - number, 0)

    @property
    def unusable(self) -> Mapping[str, int]:
        """The unusable answers so far, by reason."""
        with self._lock:
            return dict(self._unusable)

    def check(self) -> None:
        """Raise ChatError where the stage was stopped."""
        if self._stopped is not None:
            raise ChatError(self._stopped)

    def add(self, answer: Answer, reason: str | None) -> None:
        """Count an answer, unusable for a reason; raises ChatError where it is the last of the first ones and bad."""
        with self._lock:
            self._looked_at += 1
            self._asked = max(self._asked - 1, 0)
            if reason is not None:
                self._unusable[reason] += 1
            if self._looked_at <= self._number:
                self._seen.append(SeenAnswer(answer.text, reason))
            last = self._looked_at == self._number
        if last:
            self._decide()

    def finish(self) -> None:
        """Decide by the answers of a stage that has fewer than `number`; only `go_on` does."""
        if self._go_on is not None and 0 < self._looked_at < self._number:
            self._decide()

    def _decide(self) -> None:
        bad = [str(seen) for seen in self._seen if seen.reason is not None]
        go_on = 2 * len(bad) <= len(self._seen) if self._go_on is None else self._go_on(self._seen)
        self._seen, looked_at = [], len(self._seen)
        if go_on:
            return
        if self._go_on is not None:
            self._stopped = (
                f"{self._stage}: stopped after the first {looked_at} answers of {self._model}; they are kept"
            )
        else:
            self._stopped = (
                f"{self._stage}: {len(bad)} of the first {looked_at} answers of {self._model} are unusable, such as "
                f"{'; '.join(bad[:_SHOWN])}. Use a larger or instruction-tuned model, check its chat template and "
                f"max_tokens, or {self._otherwise}"
            )
        self.check()
