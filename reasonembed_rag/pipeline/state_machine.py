"""A chat model that refines the query, re-ranks the list or stops: State Machine Reasoning (arXiv 2505.23059)."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from reasonembed_rag.hits import Hits
from reasonembed_rag.llm import Answer, ChatJob, ReadAnswer, StageRequest
from reasonembed_rag.pipeline.iterating import IteratingRetriever, LoopState, json_objects, listed_state, read_query
from reasonembed_rag.pipeline.reranked import followed_by
from reasonembed_rag.tasks import TaskCard

__all__ = ["StateMachineRetriever", "read_action"]

_HIGHEST = 360360
"""Divided by the rank, as the method's own code does."""
_UNREADABLE = 3
_WARMER = 0.1
_NUMBER = re.compile(r"\d{1,9}")


class StateMachineRetriever(IteratingRetriever):
    """Let a chat model act on the query and the list of what was found, until it stops or changes nothing.

    Refining the query appends what it finds anew while the budget allows; re-ranking drops unknown ids and keeps
    missing ones behind in their order. Each of at most three unreadable answers raises the temperature by 0.1, where
    the chat can be asked at another (see Tempered). Without an answer the list stays as it is. `documents` gives the
    documents of a retriever whose hits are without. With `fall_back`, queries keep what they found first where the chat
    model cannot be used. Raises InputError for a context too small for a full list.
    """

    _name = "iterate-state-machine"

    def _iterate(self, query: str, first: Hits, banned: Collection[str]) -> ChatJob[LoopState]:
        state = _State(first=first, original=query, listed=self._browser.listed(first))
        unreadable = 0
        while len(state.listed) and not state.ended:
            if state.actions == self.settings.iterations:
                state.ended = "iterations"
                break
            reader = _Reader(len(state.listed))
            warmer = self._stage.temperature + _WARMER * unreadable if unreadable else None
            prompt = self._writer.write(query, state.written, state.listed)
            request = StageRequest(prompt, reader.read, sample=unreadable, temperature=warmer)
            (action,) = yield from self._stage.asking([request], asked_again=0)
            if action is not None:
                self._act(state, action, banned)
                continue
            unreadable += 1
            if not reader.answered:
                state.ended = "no answer"
            elif unreadable == _UNREADABLE:
                state.ended = "unreadable"
        state.ended = state.ended or "stop"
        return state

    def _act(self, state: _State, action: _Action, banned: Collection[str]) -> None:
        state.actions += 1
        if action.kind == "stop":
            state.ended = "stop"
            return
        before = state.listed.ids
        changed = False
        if action.kind == "refine":
            changed = action.query != state.query
            state.written.append(action.query)
            found = self._browser.again(action.query, banned)
            state.listed = followed_by(state.listed, found, k=self.settings.budget)
        else:
            state.listed = state.listed.take(action.order)
        if not changed and state.listed.ids == before:
            state.ended = "unchanged"

    @staticmethod
    def _prompt(written: Sequence[str], card: TaskCard, query: str, inner: Sequence[str]) -> str:
        kind, asked = card.document_type, card.query_type
        return (
            f"You steer a search for texts, each a {kind}, that help with a {asked}. A {kind} is relevant where "
            f"{card.relevance}.\n"
            "The state of the search: the query, the queries that you have written for it so far, the last one being "
            "in use, and the documents found, the best one first.\n\n"
            f"{listed_state(query, written, inner)}\n\n"
            "Choose the one action that helps most now, and answer with its JSON object alone:\n"
            '- the documents lack something the query needs: {"action": "refine query", "query": the words to search '
            "for}\n"
            '- better documents stand behind worse ones: {"action": "re-rank", "ids": all ids as a list, best first}\n'
            '- the best documents are at the front, or nothing more can be won: the action "stop".'
        )


@dataclass(slots=True, kw_only=True)
class _State(LoopState):
    original: str
    listed: Hits

    @property
    def query(self) -> str:
        return self.written[-1] if self.written else self.original

    def ranked(self, k: int) -> Hits:
        """Return the list and, behind it, what the first search found besides; scored by rank."""
        whole = followed_by(self.listed, self.first, k=k)
        return whole.reordered(range(len(whole)), [_HIGHEST // rank for rank in range(1, len(whole) + 1)])


@dataclass(frozen=True, slots=True)
class _Action:
    kind: Literal["refine", "re-rank", "stop"]
    query: str = ""
    order: tuple[int, ...] = ()


@dataclass(slots=True)
class _Reader:
    """Reads one answer, and knows whether there was one."""

    size: int
    answered: bool = False

    def read(self, answer: Answer) -> ReadAnswer[_Action]:
        self.answered = True
        return read_action(answer, size=self.size)


def read_action(answer: Answer, *, size: int) -> ReadAnswer[_Action]:
    """Return the last action of an answer, for a list of `size` documents; ids become positions, repaired."""
    for found in reversed(json_objects(answer)):
        kind = re.sub(r"[\s_-]+", "", str(found.get("action", ""))).casefold()
        if kind == "stop":
            return ReadAnswer(_Action("stop"))
        query = read_query(found.get("query"))
        if kind in {"refinequery", "refine"} and query is not None:
            return ReadAnswer(_Action("refine", query=query))
        ids = found.get("ids")
        if kind == "rerank" and isinstance(ids, list):
            return ReadAnswer(_Action("re-rank", order=_positions(ids, size)))
    return ReadAnswer(None, "truncated" if answer.truncated else "no action")


def _positions(ids: Sequence[object], size: int) -> tuple[int, ...]:
    numbers = [match.group() for match in (_NUMBER.search(str(one)) for one in ids) if match]
    named = dict.fromkeys(int(number) - 1 for number in numbers if 1 <= int(number) <= size)
    return (*named, *(position for position in range(size) if position not in named))
