"""ReasonEmbedTranslator: structured queries select what an evaluation of them by hand selects."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_classic.chains.query_constructor.schema import AttributeInfo
from langchain_classic.retrievers.self_query.base import SelfQueryRetriever
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.language_models import FakeListChatModel
from langchain_core.structured_query import Comparator, Comparison, Operation, Operator, StructuredQuery

from langchain_reasonembed import ReasonEmbedEmbeddings, ReasonEmbedTranslator, ReasonEmbedVectorStore
from reasonembed_rag.errors import InputError

FILMS = {
    "a": {"year": 1993, "genre": "fiction", "rating": 7.7, "tags": ["dinosaurs"], "seen": date(2024, 1, 2)},
    "b": {"year": 2010, "genre": "thriller", "rating": 8.2, "seen": datetime(2024, 1, 2, 20, 15, tzinfo=UTC)},
    "c": {"year": 2006, "genre": "fiction", "rating": 8.6, "tags": ["toys", "space"], "seen": date(2024, 1, 3)},
    "d": {"year": 1995, "genre": "animated", "seen": datetime(2023, 12, 31)},  # noqa: DTZ001
    "e": {"year": 1979, "genre": "science fiction", "rating": 9.9, "tags": []},
}
FIELDS = [AttributeInfo(name=name, description="the film's", type="string") for name in ("year", "genre", "rating")]
FIELDS += [AttributeInfo(name=name, description="the film's", type="string") for name in ("tags", "seen")]


@pytest.fixture(scope="module")
def films():
    return ReasonEmbedVectorStore.from_texts(
        list("abcde"), DeterministicFakeEmbedding(size=4), list(FILMS.values()), ids=list(FILMS)
    )


def retriever(films, *filters, enable_limit=False, limit=None):
    """Return a retriever over films whose model answers with the filters."""
    answers = [
        f"```json\n{json.dumps({'query': 'film', 'filter': f} | ({'limit': limit} if limit else {}))}\n```"
        for f in filters
    ]
    return SelfQueryRetriever.from_llm(
        FakeListChatModel(responses=answers),
        films,
        "A film",
        FIELDS,
        structured_query_translator=ReasonEmbedTranslator(),
        search_kwargs={"k": 9},
        enable_limit=enable_limit,
    )


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ('eq("genre", "fiction")', "ac"),
        ('ne("genre", "fiction")', "bde"),
        ('gt("rating", 8.5)', "ce"),
        ('and(gte("year", 1993), lt("year", 2006))', "ad"),
        ('lte("year", 1993)', "ae"),
        ('or(eq("year", 1979), eq("genre", "thriller"))', "be"),
        ('not(eq("genre", "fiction"))', "bde"),
        ('contain("genre", "fiction")', "ace"),
        ('contain("tags", "toys")', "c"),
        ('contain("tags", ["toys", "space"])', "c"),
        ('in("genre", ["animated", "thriller"])', "bd"),
        ('nin("genre", ["animated", "thriller"])', "ace"),
        ('in("genre", "animated")', "d"),
        ('eq("seen", "2024-01-02")', "ab"),
        ('ne("seen", "2024-01-02")', "cde"),
        ('gt("seen", "2024-01-02")', "c"),
        ('gte("seen", "2024-01-02")', "abc"),
        ('lt("seen", "2024-01-02")', "d"),
        ('lte("seen", "2024-01-02")', "abd"),
        ('in("seen", ["2024-01-03", "2023-12-31"])', "cd"),
        ('nin("seen", ["2024-01-03", "2023-12-31"])', "abe"),
        ('eq("seen", "2024-01-02T20:15:00Z")', "b"),
        ('lte("seen", "2024-01-02T20:15:00")', "abd"),
        ("NO_FILTER", "abcde"),
    ],
)
async def test_a_model_filters_through_the_self_query_retriever(films, said, found):
    asked = retriever(films, said, said)
    assert sorted(document.id for document in asked.invoke("which film?")) == list(found)
    assert sorted(document.id for document in await asked.ainvoke("which film?")) == list(found)


def test_a_limit_is_the_number_of_documents(films):
    assert len(retriever(films, "NO_FILTER", enable_limit=True, limit=2).invoke("two films")) == 2


def test_a_filter_without_a_query_finds_what_it_says(words):
    store = ReasonEmbedVectorStore.from_texts(list("abcde"), ReasonEmbedEmbeddings(model="words"), list(FILMS.values()))
    answer = {"query": "", "filter": 'and(gt("rating", 8), in("genre", ["fiction", "thriller"]))'}
    asked = SelfQueryRetriever.from_llm(
        FakeListChatModel(responses=[f"```json\n{json.dumps(answer)}\n```"]),
        store,
        "A film",
        FIELDS,
        structured_query_translator=ReasonEmbedTranslator(),
    )
    assert sorted(document.page_content for document in asked.invoke("rated above 8")) == ["b", "c"]
    assert words.calls[-1] == ("queries", ["rating 8 genre fiction thriller"])


def test_like_is_not_offered_to_the_model_and_refused():
    assert Comparator.LIKE not in ReasonEmbedTranslator.allowed_comparators
    with pytest.raises(InputError, match=r"like.*'genre'"):
        ReasonEmbedTranslator().visit_comparison(Comparison(Comparator.LIKE, "genre", "%fic%"))


_ORDER = {
    Comparator.GT: lambda value, operand: value > operand,
    Comparator.GTE: lambda value, operand: value >= operand,
    Comparator.LT: lambda value, operand: value < operand,
    Comparator.LTE: lambda value, operand: value <= operand,
    Comparator.EQ: lambda value, operand: value == operand,
}
_DAYS = [date(2023, 12, 31), date(2024, 1, 1), date(2024, 1, 2), date(2024, 1, 3)]


def _holds(film, comparison):
    value, operand = film.get(comparison.attribute), comparison.value
    if comparison.attribute == "seen" and value is not None:
        value = value.date() if isinstance(value, datetime) else value
        operand = date.fromisoformat(operand["date"])
    if comparison.comparator == Comparator.NE:
        return value != operand
    if comparison.comparator == Comparator.IN:
        return value in operand
    if comparison.comparator == Comparator.NIN:
        return value not in operand
    return value is not None and _ORDER[comparison.comparator](value, operand)


def _selected(film, directive):
    if isinstance(directive, Comparison):
        return _holds(film, directive)
    parts = [_selected(film, part) for part in directive.arguments]
    return {Operator.AND: all(parts), Operator.OR: any(parts), Operator.NOT: not any(parts)}[directive.operator]


ORDERED = st.sampled_from([*_ORDER, Comparator.NE])
COMPARISON = st.one_of(
    st.builds(Comparison, ORDERED, st.just("year"), st.sampled_from([1979, 1993, 2000, 2010])),
    st.builds(Comparison, ORDERED, st.just("rating"), st.sampled_from([7.7, 8.0, 8.6])),
    st.builds(Comparison, ORDERED, st.just("genre"), st.sampled_from(["fiction", "g", "thriller"])),
    st.builds(
        Comparison,
        ORDERED,
        st.just("seen"),
        st.sampled_from([{"type": "date", "date": day.isoformat()} for day in _DAYS]),
    ),
    st.builds(
        Comparison,
        st.sampled_from([Comparator.IN, Comparator.NIN]),
        st.just("year"),
        st.lists(st.sampled_from([1979, 1993, 2010]), max_size=2),
    ),
)
DIRECTIVE = st.recursive(
    COMPARISON,
    lambda inner: st.builds(Operation, st.sampled_from(list(Operator)), st.lists(inner, min_size=1, max_size=3)),
    max_leaves=5,
)


@settings(max_examples=200, deadline=None)
@given(DIRECTIVE)
def test_any_query_selects_what_it_says(films, directive):
    query, arguments = ReasonEmbedTranslator().visit_structured_query(StructuredQuery("film", directive, None))
    found = films.similarity_search(query, k=9, **arguments)
    wanted = [name for name, film in FILMS.items() if _selected(film, directive)]
    assert sorted(document.id for document in found) == wanted
