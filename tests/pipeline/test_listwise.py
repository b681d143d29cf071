"""Windows sorted by a chat model: the best move to the front, a window that fails keeps its order."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judge_chat import ScriptedChat, access_to, documents_in, hits_of

from reasonembed_rag.errors import InputError
from reasonembed_rag.hits import Hits
from reasonembed_rag.llm import Answer, ResponseCache
from reasonembed_rag.pipeline.listwise import ListwiseReranker, WindowSettings
from reasonembed_rag.pipeline.rankings import read_ranking
from reasonembed_rag.protocols import Metered, Reranker


def _sorts(prompt: str, before: int) -> str:
    """Sort by the number at the end of each text, highest first."""
    values = [int(text.split()[-1]) for text in documents_in(prompt)]
    order = sorted(range(len(values)), key=lambda position: -values[position])
    return " > ".join(f"[{position + 1}]" for position in order)


def _hits(values) -> Hits:
    return hits_of({f"d{number:03}": f"text {value}" for number, value in enumerate(values)})


def _values(hits: Hits) -> list[int]:
    return [int(document.content.split()[-1]) for document in hits.documents]


def test_the_best_documents_come_from_the_back_of_a_long_list_to_its_front():
    hits = _hits(range(45))
    reranker = ListwiseReranker(access_to(_sorts))
    (ranked,) = reranker.rerank(["?"], [hits])
    assert _values(ranked)[:10] == list(range(44, 34, -1))
    assert sorted(ranked.ids) == sorted(hits.ids)
    assert Hits.ranked(ranked).ids == ranked.ids
    assert reranker.rerank(["?"], [hits], k=3)[0].ids == ranked.ids[:3]
    assert isinstance(reranker, Reranker)
    assert isinstance(reranker, Metered)
    assert reranker.usage().llm_calls == 8, "windows 25-45, 15-35, 5-25 and 0-15, twice"


def test_documents_are_shown_in_numbered_windows_and_cut_to_words():
    chat = ScriptedChat(_sorts)
    reranker = ListwiseReranker(access_to(chat), task="aops", windows=WindowSettings(size=2, stride=1, words=3))
    reranker.rerank(["find x"], [hits_of({"a": "1 2 3 4 5", "b": "x\n y 3", "c": "z 9"})])
    assert [documents_in(prompt) for prompt in chat.prompts] == [["x\n y 3", "z 9"], ["1 2 3", "z 9"]]
    assert "[1]\n<document>\nx\n y 3\n</document>\n\n[2]\n<document>\nz 9" in chat.prompts[0]
    assert "competition mathematics problem" in chat.prompts[0]
    assert reranker.report().shortened == 1


def test_a_prompt_alone_cannot_be_read_as_a_whole_ranking_other_than_the_order_shown():
    chat = ScriptedChat(_sorts)
    ListwiseReranker(access_to(chat)).rerank(["?"], [_hits(range(5))])
    assert read_ranking(Answer(chat.prompts[0]), size=5).value.order == (0, 1, 2, 3, 4)


def test_an_answer_that_names_some_documents_is_repaired_and_counted():
    reranker = ListwiseReranker(access_to(lambda prompt, before: "[2] > [2] > [9] > [1]"))
    (ranked,) = reranker.rerank(["?"], [_hits([7, 8, 9, 10, 11])])
    assert _values(ranked) == [8, 7, 9, 10, 11]
    assert reranker.report().repaired == 1


def test_a_window_without_an_answer_keeps_its_order_and_the_others_are_sorted():
    def answer(prompt, before):
        return "no idea" if documents_in(prompt)[-1] == "text 3" else _sorts(prompt, before)

    reranker = ListwiseReranker(access_to(answer), windows=WindowSettings(size=2, stride=1))
    (ranked,) = reranker.rerank(["?"], [_hits([0, 1, 2, 3])])
    assert _values(ranked) == [2, 0, 1, 3]
    report = reranker.report()
    assert (report.unanswered, report.kept, dict(report.unusable)) == (1, 0, {"no ranking": 2})


def test_a_query_without_an_answer_keeps_its_hits():
    def answer(prompt, before):
        return ValueError("cannot") if "bad" in prompt else _sorts(prompt, before)

    hits = _hits([1, 2, 3])
    reranker = ListwiseReranker(access_to(answer))
    bad, good = reranker.rerank(["bad", "good"], [hits, hits])
    assert bad == hits
    assert _values(good) == [3, 2, 1]
    assert (reranker.report().kept, reranker.report().failures) == (1, 1)


def test_passes_over_shuffled_lists_add_their_ranks_and_are_the_same_each_time():
    def position_biased(prompt, before):
        """Take what stands first, apart from the best document."""
        values = [int(text.split()[-1]) for text in documents_in(prompt)]
        best = values.index(max(values))
        return f"[{best + 1}]"

    settings = WindowSettings(passes=5, seed=3)
    hits = _hits([1, 5, 2, 9, 3])
    chat = ScriptedChat(position_biased)
    (ranked,) = ListwiseReranker(access_to(chat), windows=settings).rerank(["?"], [hits])
    assert _values(ranked)[0] == 9
    assert sorted(ranked.ids) == sorted(hits.ids)
    shown = [tuple(documents_in(prompt)) for prompt in chat.prompts]
    assert len(set(shown)) > 3, "passes begin from other orders"
    assert ListwiseReranker(access_to(position_biased), windows=settings).rerank(["?"], [hits]) == [ranked]
    other = ScriptedChat(position_biased)
    ListwiseReranker(access_to(other), windows=WindowSettings(passes=5, seed=4)).rerank(["?"], [hits])
    assert set(other.prompts) != set(chat.prompts)


def test_among_several_passes_one_with_a_failed_window_does_not_count():
    seen = []

    def answer(prompt, before):
        seen.append(prompt)
        return "no idea" if prompt == seen[0] else _sorts(prompt, before)

    windows = WindowSettings(size=3, stride=2, passes=2)
    (ranked,) = ListwiseReranker(access_to(answer), windows=windows).rerank(["?"], [_hits([1, 5, 2, 9, 3])])
    assert len(set(seen)) == 4, "two passes of two windows"
    assert ranked.scores.tolist() == [4, 3, 2, 1, 0], "the ranks of one pass"
    assert _values(ranked)[0] == 9


def test_equal_sums_of_ranks_keep_the_order_before():
    def first_stays(prompt, before):
        return "[1] > [2]"

    seeds = range(20)
    hits = _hits([1, 2])
    ranked = [
        ListwiseReranker(access_to(first_stays), windows=WindowSettings(passes=2, seed=seed)).rerank(["?"], [hits])[0]
        for seed in seeds
    ]
    tied = [one for one in ranked if one.scores[0] == 0.5]
    assert 0 < len(tied) < len(seeds), "some seeds shuffle two documents in two ways"
    assert all(one.ids == hits.ids and Hits.ranked(one).ids == hits.ids for one in tied)


def test_nothing_is_paid_twice(tmp_path):
    chat = ScriptedChat(_sorts)
    with ResponseCache.open(tmp_path / "answers.sqlite") as cache:
        first = ListwiseReranker(access_to(chat, cache=cache)).rerank(["?"], [_hits(range(30))])
        assert ListwiseReranker(access_to(chat, cache=cache)).rerank(["?"], [_hits(range(30))]) == first
    assert set(chat.calls.values()) == {1}


def test_bad_settings_are_refused():
    for bad in ({"size": 1}, {"stride": 0}, {"stride": 21}, {"passes": 0}, {"words": 0}):
        with pytest.raises(InputError, match=f"{next(iter(bad))}"):
            WindowSettings(**bad)
    with pytest.raises(InputError, match="context"):
        ListwiseReranker(access_to(_sorts, context=1000))
    with pytest.raises(InputError, match="documents"):
        ListwiseReranker(access_to(_sorts)).rerank(["?"], [Hits(("a",), [1.0])])


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.integers(0, 9), max_size=12),
    st.integers(2, 6),
    st.integers(1, 3),
    st.lists(st.sampled_from(["[2] > [1]", "[3, 1]", "nothing", "[9]", "4 2 4"]), min_size=1, max_size=3),
)
def test_whatever_is_answered_the_hits_stay_the_same_ones(values, size, passes, answers):
    hits = _hits(values)
    chat = ScriptedChat(lambda prompt, before: answers[len(prompt) % len(answers)])
    reranker = ListwiseReranker(access_to(chat), windows=WindowSettings(size=size, stride=size - 1, passes=passes))
    (ranked,) = reranker.rerank(["?"], [hits])
    assert sorted(ranked.ids) == sorted(hits.ids)
    assert Hits.ranked(ranked).ids == ranked.ids
    assert {document.id for document in ranked.documents} == set(hits.ids)
