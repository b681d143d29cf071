"""A plain agentic loop: a chat model says what is missing among the documents found, and that is searched for."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from reasonembed_rag.documents import Document
from reasonembed_rag.hits import Hit, Hits
from reasonembed_rag.llm import Answer, ChatJob, ReadAnswer, StageRequest
from reasonembed_rag.pipeline.iterating import IteratingRetriever, LoopState, json_objects, listed_state, read_query
from reasonembed_rag.pipeline.reranked import followed_by
from reasonembed_rag.tasks import TaskCard

__all__ = ["AgenticRetriever", "read_need"]

_RANK_OFFSET = 60


class AgenticRetriever(IteratingRetriever):
    """Search again with what a chat model says is missing, and fuse what all searches found by reciprocal rank.

    The loop ends when the model has enough, a search finds nothing new, the budget of documents or iterations is spent,
    or no answer can be read; then what was found so far is returned. `documents` gives the documents of a retriever
    whose hits are without. With `fall_back`, queries keep what they found first where the chat model cannot be used.
    Raises InputError for a context too small for a full list.
    """

    _name = "iterate-agentic"

    def _iterate(self, query: str, first: Hits, banned: Collection[str]) -> ChatJob[LoopState]:
        state = _Searches(first=first, lists=[self._browser.listed(first)])
        while not state.ended:
            fused = state.fused()
            if state.actions == self.settings.iterations or not len(fused):
                state.ended = "iterations" if len(fused) else "unchanged"
                break
            prompt = self._writer.write(query, state.written, fused[: self.settings.budget])
            (need,) = yield from self._stage.asking([StageRequest(prompt, read_need)])
            if need is None:
                state.ended = "no answer"
                break
            state.actions += 1
            if not need:
                state.ended = "stop"
            elif need in {query, *state.written}:
                state.ended = "unchanged"
            else:
                state.written.append(need)
                state.add(self._browser.again(need, banned), budget=self.settings.budget)
        return state

    @staticmethod
    def _prompt(written: Sequence[str], card: TaskCard, query: str, inner: Sequence[str]) -> str:
        kind, asked = card.document_type, card.query_type
        return (
            f"Texts, each a {kind}, are searched for that help with a {asked}. A {kind} is relevant where "
            f"{card.relevance}.\n"
            "Below are the query, what has been searched for besides, and the documents found so far.\n\n"
            f"{listed_state(query, written, inner)}\n\n"
            "Decide whether an answer to the query could rest on these documents. If a fact, concept or step is "
            "missing, say which, and write the words to search for it: another search than those before.\n"
            'Answer with one JSON object alone. Where something is missing it has the keys "missing" and "query", both '
            'text; where nothing is, it has the key "enough" with the value true.'
        )


@dataclass(slots=True, kw_only=True)
class _Searches(LoopState):
    lists: list[Hits]

    def add(self, found: Hits, *, budget: int) -> None:
        """Add what a search found; new documents only while there is room for them."""
        known = {identity for hits in self.lists for identity in hits.ids}
        new = [identity for identity in found.ids if identity not in known]
        room = budget - len(known)
        if not new:
            self.ended = "unchanged"
            return
        kept = known | set(new[:room])
        self.lists.append(found.take([place for place, identity in enumerate(found.ids) if identity in kept]))
        if len(new) >= room:
            self.ended = "budget"

    def fused(self) -> Hits:
        """Return all hits by the sum of 1 / (60 + rank) over the searches, ties by larger id."""
        sums: dict[str, float] = {}
        documents: dict[str, Document | None] = {}
        for hits in self.lists:
            for rank, hit in enumerate(hits, start=1):
                sums[hit.id] = sums.get(hit.id, 0.0) + 1.0 / (_RANK_OFFSET + rank)
                documents[hit.id] = hit.document
        return Hits.ranked(Hit(identity, score, documents[identity]) for identity, score in sums.items())

    def ranked(self, k: int) -> Hits:
        """Return the fused hits, then what the first search found besides; the hits of one search as they are."""
        return self.first[:k] if len(self.lists) == 1 else followed_by(self.fused(), self.first, k=k)


def read_need(answer: Answer) -> ReadAnswer[str]:
    """Return the query for what is missing; an empty one where the model has enough."""
    for found in reversed(json_objects(answer)):
        if found.get("enough") is True:
            return ReadAnswer("")
        query = read_query(found.get("query"))
        if query is not None:
            return ReadAnswer(query)
    return ReadAnswer(None, "truncated" if answer.truncated else "no decision")
