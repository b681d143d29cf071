"""A chat model as one stage of a pipeline asks it: cached, limited, its answers guarded, what fails counted."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Generic, TypeVar

from reasonembed_rag.errors import InputError
from reasonembed_rag.llm.cache import ResponseCache
from reasonembed_rag.llm.chat import Answer, Chat
from reasonembed_rag.llm.client import OVER_CONTEXT, ChatClient, ChatReply, ChatRequest
from reasonembed_rag.llm.first_answers import FirstAnswers
from reasonembed_rag.llm.guard import ReadAnswer
from reasonembed_rag.llm.model import ChatModel, settings_of
from reasonembed_rag.llm.runner import CallStats, ChatJob, run_jobs
from reasonembed_rag.llm.settings import CallSettings, ChatModelSettings
from reasonembed_rag.protocols import Usage

__all__ = ["ChatAccess", "ChatStage", "StageReport", "StageRequest"]

T = TypeVar("T")

_logger = logging.getLogger(__name__)

_AGAIN = 1_000_000
"""Added to the number of a sample for each time that it is asked again: no number of samples meets it."""
_SPARE_TOKENS = 128
"""Between a prompt and the context: estimates are not exact, and servers add the marks of their chat template."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatAccess:
    """A chat model and how the stages of a pipeline call it; raises InputError for a cache and a model without a name.

    An open cache is shared by all stages: no answer is paid for twice. Without `model` an OpenAIChat is cached under
    its own model and parameters.
    """

    chat: Chat
    model: ChatModelSettings | None = None
    calls: CallSettings = field(default_factory=CallSettings)
    cache: ResponseCache | None = None
    pilot: int | None = 20
    """A stage stops where most of its first answers, this many, are unusable; None: it never does."""

    def __post_init__(self) -> None:
        if self.pilot is not None and self.pilot < 1:
            raise InputError(f"pilot is {self.pilot}; want at least 1, or None to look at no answers")
        self.chat_model()

    def chat_model(self) -> ChatModel:
        """Return the model with the settings under which it is called."""
        return ChatModel(self.chat, settings_of(self.chat, self.model, cached=self.cache is not None))


@dataclass(frozen=True, slots=True)
class StageRequest(Generic[T]):
    """A prompt, and what reads its answer; samples of one prompt have different numbers."""

    prompt: str
    read: Callable[[Answer], ReadAnswer[T]]
    sample: int = 0
    temperature: float | None = None
    """Replaces the model's own, where its chat can be asked at another (see Tempered)."""
    shorter: Callable[[], StageRequest[T] | None] | None = None
    """Returns what is asked where the model refuses the prompt as over its context; None where nothing is shorter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageReport:
    """What a stage has asked so far, and what came of it."""

    calls: int = 0
    """Calls with an answer, usable or not."""
    cached: int = 0
    failures: int = 0
    """Calls without an answer after all retries."""
    retries: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = None
    unusable: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    """Answers that were dropped, by reason; those of samples that were then asked again are among them."""
    unanswered: int = 0
    """Requests that ended without a usable answer."""
    repaired: int = 0
    """Answers that were usable in part, and completed."""
    shortened: int = 0
    """Prompts whose texts were cut, to fit the model's context or a limit of the stage."""
    kept: int = 0
    """Queries that kept what they had, as no answer changed it."""
    last_failure: str | None = None


class ChatStage:
    """Ask one chat model the prompts of one stage; threads may share it. `on_reply` is told after each reply."""

    def __init__(self, access: ChatAccess, *, name: str, on_reply: Callable[[StageReport], None] | None = None) -> None:
        self.name = name
        self._on_reply = on_reply
        self._access = access
        self._model = access.chat_model()
        self._lock = threading.Lock()
        self._client: ChatClient | None = None
        self._total = CallStats()
        self._noted: Counter[str] = Counter()
        self._warned: set[str] = set()
        self._unanswered = 0
        self._first = FirstAnswers(
            access.pilot,
            stage=name,
            model=self._model.settings.name,
            otherwise="go on regardless with pilot=None",
        )

    def ask(self, requests: Sequence[StageRequest[T]]) -> list[T | None]:
        """Return what was read from each answer, None where there is no usable one; the answers are asked for at once.

        An unusable answer is asked for again as often as the call settings say. Raises ChatError where the model cannot
        be called, where too many calls of this batch fail, and where most of the stage's first answers are unusable;
        what was answered until then is in the cache.
        """
        return [read for (read,) in self.run(self.asking([request]) for request in requests)]

    def run(self, jobs: Iterable[ChatJob[T]]) -> list[T]:
        """Return the results of jobs that ask through `asking`, in order; many run at once. Raises what ask raises."""
        self._first.check()
        stats = CallStats()  # of its own: single queries fall back one by one, while a long batch stops
        before = self._unanswered
        try:
            on_reply = None if self._on_reply is None else partial(self._tell, self._on_reply, stats)
            results = list(run_jobs(jobs, self._current_client(), stats=stats, on_reply=on_reply))
        finally:
            with self._lock:
                self._total = self._sum(stats)
        missing = self._unanswered - before
        if missing and not before:
            why = (
                stats.last_failure or ", ".join(self._first.unusable) or "the prompt is longer than the model's context"
            )
            _logger.warning("%s: requests without a usable answer: %d (%s)", self.name, missing, why)
        return results

    def asking(self, requests: Sequence[StageRequest[T]], *, asked_again: int | None = None) -> ChatJob[list[T | None]]:
        """Ask as a part of a job, by `yield from`: what `ask` returns; asked_again replaces the call settings' own.

        As long as the stage's first answers are not known to be usable, no more than those are asked for at first, and
        one for each caller that comes later.
        """
        rounds = 1 + (self._access.calls.asked_again if asked_again is None else asked_again)
        asked = list(requests)
        read: list[T | None] = [None] * len(asked)
        tries = [0] * len(asked)
        left = list(range(len(asked)))
        while left:
            self._first.check()
            now = under_way = self._first.ask(len(left))
            places, left = left[:now], left[now:]
            try:
                replies = yield from self._replies(asked, places, tries)
                for place, answer in [(place, reply.answer) for place, reply in replies.items() if reply.answer]:
                    found = asked[place].read(answer)
                    under_way -= 1
                    self._first.add(answer, found.reason if found.value is None else None)
                    read[place] = found.value
                    tries[place] += 1
                    if found.value is None and tries[place] < rounds:
                        left.append(place)
            finally:
                self._first.lose(under_way)
        with self._lock:
            self._unanswered += sum(value is None for value in read)
        return read

    def note(self, *, repaired: int = 0, shortened: int = 0, kept: int = 0) -> None:
        """Count what is told in the report; the first shortened prompt is logged."""
        with self._lock:
            self._noted.update(repaired=repaired, shortened=shortened, kept=kept)
        if shortened:
            self.warn_once("shortened", "texts are cut to fit into a prompt; the report counts such prompts")

    def warn_once(self, kind: str, text: str) -> None:
        """Log a warning, the first one of its kind."""
        with self._lock:
            first = kind not in self._warned
            self._warned.add(kind)
        if first:
            _logger.warning("%s: %s", self.name, text)

    @property
    def prompt_tokens(self) -> int:
        """The longest prompt, in estimated tokens, that leaves the model room to answer."""
        settings = self._model.settings
        return settings.context - (settings.max_output_tokens or settings.context // 4) - _SPARE_TOKENS

    @property
    def temperature(self) -> float:
        """The temperature in the model's settings; 0 where they name none."""
        named = (self._model.settings.parameters or {}).get("temperature")
        return float(named) if isinstance(named, int | float) else 0.0

    def report(self) -> StageReport:
        """Return the counts since construction; those of a batch under way come with its end."""
        return self._report(self._total)

    def _tell(self, on_reply: Callable[[StageReport], None], running: CallStats) -> None:
        """Tell the counts so far, those of the batch under way among them."""
        on_reply(self._report(self._sum(running)))

    def _report(self, total: CallStats) -> StageReport:
        with self._lock:
            return StageReport(
                calls=total.calls,
                cached=total.cached,
                failures=total.failures,
                retries=total.retries,
                input_tokens=total.input_tokens,
                output_tokens=total.output_tokens,
                cost=total.cost,
                unusable=MappingProxyType(dict(self._first.unusable)),
                unanswered=self._unanswered,
                repaired=self._noted["repaired"],
                shortened=self._noted["shortened"],
                kept=self._noted["kept"],
                last_failure=total.last_failure,
            )

    def usage(self) -> Usage:
        """Return the calls and tokens since construction; those from the cache cost nothing and are not counted."""
        report = self.report()
        return Usage(
            llm_calls=report.calls, llm_tokens=report.input_tokens + report.output_tokens, llm_cost=report.cost
        )

    def _replies(
        self, asked: list[StageRequest[T]], places: Sequence[int], tries: Sequence[int]
    ) -> ChatJob[Mapping[int, ChatReply]]:
        """Return the replies to the requests at these places; those over the model's context are asked shorter.

        Prompts are measured in estimated tokens, and servers may have a shorter context than their settings say.
        """
        replies: dict[int, ChatReply] = {}
        waiting = list(places)
        while waiting:
            sent = [(asked[place], tries[place]) for place in waiting]
            new = yield [ChatRequest(one.prompt, one.sample + again * _AGAIN, one.temperature) for one, again in sent]
            replies |= zip(waiting, new, strict=True)
            refused = [place for place in waiting if replies[place].reason == OVER_CONTEXT]
            waiting = []
            for place in refused:
                shorten = asked[place].shorter
                request = None if shorten is None else shorten()
                if request is not None:
                    asked[place] = request
                    waiting.append(place)
        return replies

    def _current_client(self) -> ChatClient:
        """Return the client, whose rate limits hold for all calls; a new one after a batch that stopped it."""
        with self._lock:
            if self._client is None or self._client.stop.is_set():
                self._client = ChatClient(
                    self._model,
                    stage=self.name,
                    cache=self._access.cache,
                    settings=self._access.calls,
                    stop=threading.Event(),
                )
            return self._client

    def _sum(self, stats: CallStats) -> CallStats:
        """Return the counts of the batches before and of one more."""
        total = self._total
        read, written = total.input_tokens + stats.input_tokens, total.output_tokens + stats.output_tokens
        return CallStats(
            calls=total.calls + stats.calls,
            cached=total.cached + stats.cached,
            failures=total.failures + stats.failures,
            retries=total.retries + stats.retries,
            input_tokens=read,
            output_tokens=written,
            cost=self._model.settings.cost(input_tokens=read, output_tokens=written),
            last_failure=stats.last_failure or total.last_failure,
        )
