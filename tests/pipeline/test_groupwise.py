"""Groups scored together: overlapping groups are averaged, what is not scored stays behind."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judge_chat import ScriptedChat, access_to, documents_in, hits_of

from reasonembed_rag.errors import InputError
from reasonembed_rag.hits import Hits
from reasonembed_rag.llm import Answer
from reasonembed_rag.pipeline.groupwise import GroupSettings, GroupwiseReranker, read_group_scores
from reasonembed_rag.protocols import Metered, Reranker


def _scores(prompt: str, before: int) -> str:
    """Give each text the number at its end, or nothing where that is negative."""
    values = [int(text.split()[-1]) for text in documents_in(prompt)]
    return "\n".join(f"[{number}]: {value}" for number, value in enumerate(values, start=1) if value >= 0) or "none"


def _hits(values) -> Hits:
    return hits_of({f"d{number:03}": f"text {number} {value}" for number, value in enumerate(values)})


@pytest.mark.parametrize(
    ("text", "scores"),
    [
        ("[1]: 7\n[2]: 0\n[3]: 10", {0: 7, 1: 0, 2: 10}),
        ('{"1": 7, "2": 3}', {0: 7, 1: 3}),
        ("**[2]**: 6.5", {1: 6.5}),
        ("<think>[1]: 9</think>[1]: 2", {0: 2}),
        ("[1]: 4, no, [1]: 5", {0: 5}),
        ("[1]: 11\n[4]: 3\n[0]: 3\n[2]: 1", {1: 1}),
        ("\u2460: \uff17", {0: 7}),
        ("[1] is good", None),
        ("[1]: 100", None),
        ("", None),
    ],
)
def test_scores_are_read_by_number(text, scores):
    assert read_group_scores(Answer(text), size=3).value == scores


def test_documents_are_ranked_by_mean_score_and_equal_ones_keep_their_order():
    hits = _hits([3, 9, 3, 10, 0])
    reranker = GroupwiseReranker(access_to(_scores))
    (ranked,) = reranker.rerank(["?"], [hits])
    assert ranked.ids == ("d003", "d001", "d000", "d002", "d004")
    assert ranked.scores.tolist() == pytest.approx([10, 9, 3, 3, 0], abs=1e-4)
    assert reranker.rerank(["?"], [hits], k=1)[0].ids == ("d003",)
    assert reranker.usage().llm_calls == 2, "one group holds all, so that further rounds would ask the same"
    assert isinstance(reranker, Reranker)
    assert isinstance(reranker, Metered)


def test_every_document_is_scored_in_every_round_in_groups_of_like_sizes():
    chat = ScriptedChat(_scores)
    hits = _hits([number % 11 for number in range(21)])
    (ranked,) = GroupwiseReranker(access_to(chat), groups=GroupSettings(size=10, rounds=3)).rerank(["?"], [hits])
    groups = [documents_in(prompt) for prompt in chat.prompts]
    assert sorted(map(len, groups)) == [7] * 9
    shown = [text for group in groups for text in group]
    assert all(shown.count(document.content) == 3 for document in hits.documents)
    assert len({frozenset(group) for group in groups}) > 3, "groups of later rounds overlap with those of the first"
    assert [document.content for document in hits.documents][:7] in groups
    again = ScriptedChat(_scores)
    assert GroupwiseReranker(access_to(again)).rerank(["?"], [hits]) == [ranked]
    assert set(again.prompts) == set(chat.prompts)


def test_scores_of_overlapping_groups_are_averaged():
    def answer(prompt, before):
        texts = documents_in(prompt)
        return "\n".join(f"[{n}]: {10 if text == texts[0] else 2}" for n, text in enumerate(texts, start=1))

    hits = _hits([0] * 6)
    chat = ScriptedChat(answer)
    (ranked,) = GroupwiseReranker(access_to(chat), groups=GroupSettings(size=3, rounds=4)).rerank(["?"], [hits])
    first = [documents_in(prompt)[0].split()[1] for prompt in chat.prompts]
    expected = {f"d00{n}": 2 + 8 * first.count(str(n)) / 4 for n in range(6)}
    assert dict(zip(ranked.ids, ranked.scores.tolist(), strict=True)) == pytest.approx(expected, abs=1e-4)


def test_documents_without_a_score_stay_behind_and_are_counted():
    reranker = GroupwiseReranker(access_to(_scores))
    (ranked,) = reranker.rerank(["?"], [_hits([-1, 2, -1, 8])])
    assert ranked.ids == ("d003", "d001", "d000", "d002")
    assert reranker.report().repaired == 1
    (kept,) = reranker.rerank(["?"], [_hits([-1, -1])])
    assert kept == _hits([-1, -1])
    assert reranker.report().kept == 1


def test_bad_settings_are_refused():
    for bad in ({"size": 1}, {"rounds": 0}, {"words": 0}):
        with pytest.raises(InputError, match=f"{next(iter(bad))} is"):
            GroupSettings(**bad)
    with pytest.raises(InputError, match="context"):
        GroupwiseReranker(access_to(_scores, context=500))


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(-1, 10), max_size=15), st.integers(2, 6), st.integers(1, 3))
def test_the_hits_stay_the_same_ones_in_the_order_of_their_scores(values, size, rounds):
    hits = _hits(values)
    reranker = GroupwiseReranker(access_to(_scores), groups=GroupSettings(size=size, rounds=rounds))
    (ranked,) = reranker.rerank(["?"], [hits])
    scored = sorted((n for n, value in enumerate(values) if value >= 0), key=lambda n: -values[n])
    left = [n for n, value in enumerate(values) if value < 0]
    assert ranked.ids == tuple(f"d{n:03}" for n in scored + left)
    assert Hits.ranked(ranked).ids == ranked.ids or not scored
