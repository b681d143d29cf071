import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from hashlib import sha256
from pydoc_data.topics import topics
from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasonembed_rag.errors import EvaluationError, InputError
from reasonembed_rag.evaluation.python_reference import load_python_reference, python_reference_documents
from reasonembed_rag.evaluation.python_reference.questions import (
    FIRST_DEV_SIZE,
    SPLITS,
    first_dev_ids,
    resolve_gold,
)
from reasonembed_rag.passages import split_passages

TASKS = {split: load_python_reference(split) for split in SPLITS}
EXAMPLES = [*TASKS["dev"].examples, *TASKS["test"].examples]
CONTENTS = {document.id: document.content for document in python_reference_documents()}
BARE = {id_: re.sub(r"[^\w]", "", content) for id_, content in CONTENTS.items()}
STOPWORDS = set(
    re.findall(
        r"\w+",
        """a about after again all also am an and any are as at be because been before being both but by can cannot
        could did do does done each either else even ever every few for from get gets got had has have he
        her here his how i if in into is it its just like make makes may me might more most much must my
        neither no nor not now of off on once one only or other our out over own same shall she should
        since so some such than that the their them then there these they this those though through to
        too under until up upon us very want was we well were what when where whether which while who
        whom whose why will with without would yet you your""",
    )
)

every_example = pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.id)


def bare(text):
    return re.sub(r"[^\w]", "", text)


def content_words(text):
    return set(re.findall(r"[a-z]{2,}", text.lower())) - STOPWORDS


def overlap(example):
    words = content_words(example.query)
    found = content_words(" ".join(CONTENTS[gold] for gold in example.gold_ids))
    return len(words & found) / len(words)


def test_the_splits_have_the_sizes_that_the_readme_states():
    sizes = {split: len(task.examples) for split, task in TASKS.items()}
    assert sizes == {"dev": 301, "dev-first": FIRST_DEV_SIZE, "test": 85}
    assert FIRST_DEV_SIZE == 30


def test_the_first_questions_follow_the_split_rule_and_later_ones_are_all_for_dev():
    ids = {split: {example.id for example in task.examples} for split, task in TASKS.items()}
    assert len({example.id for example in EXAMPLES}) == len(EXAMPLES)
    assert first_dev_ids(ids["dev-first"] | ids["test"]) == ids["dev-first"]
    assert TASKS["dev"].examples[:FIRST_DEV_SIZE] == TASKS["dev-first"].examples


def test_the_test_split_never_changes():
    asked = "\n".join(f"{example.id} {example.query}" for example in TASKS["test"].examples)
    assert sha256(asked.encode()).hexdigest() == "a693ff747b7a96e2ac7fb26620d4120cdae1e9195f2749381f3bf69d2dd3bfb9"


@given(st.lists(st.text(max_size=5), unique=True), st.randoms(use_true_random=False))
def test_the_split_depends_on_the_ids_alone(ids, random):
    shuffled = random.sample(ids, len(ids))
    assert first_dev_ids(shuffled) == first_dev_ids(ids)
    assert len(first_dev_ids(ids)) == min(FIRST_DEV_SIZE, len(ids))


@every_example
def test_a_question_has_gold_passages_that_hold_its_quotes(example):
    assert example.gold_ids
    assert set(example.gold_ids) <= CONTENTS.keys()
    quotes = [bare(quote) for quote in example.extra["evidence"]]
    held = {gold: [quote for quote in quotes if quote in BARE[gold]] for gold in example.gold_ids}
    assert all(held.values()), "a gold passage without a quote"
    assert {quote for found in held.values() for quote in found} == set(quotes)


@every_example
def test_a_question_is_complete_and_gives_no_quote_away(example):
    assert example.excluded_ids == ()
    assert set(example.extra) == {"reasoning", "gold_answer", "evidence"}
    assert all(isinstance(example.extra[name], str) and example.extra[name] for name in ("reasoning", "gold_answer"))
    assert len(example.gold_ids) <= 4, "so many passages cannot all be the answer"
    assert not any(bare(quote) in bare(example.query) for quote in example.extra["evidence"])


@every_example
def test_a_quote_names_one_passage(example):
    for quote in example.extra["evidence"]:
        assert sum(bare(quote) in content for content in BARE.values()) == 1


@pytest.mark.skipif(sys.version_info[:3] != (3, 11, 7), reason="the files hold the gold ids of Python 3.11.7")
def test_the_gold_ids_in_the_files_are_those_of_python_3_11_7():
    from importlib.resources import files

    from reasonembed_rag.evaluation.task import read_examples

    folder = files("reasonembed_rag.evaluation.python_reference")
    parts = {part for parts in SPLITS.values() for part in parts}
    shipped = [example for part in parts for example in read_examples(folder / f"examples.{part}.jsonl")]
    assert {example.id: example.gold_ids for example in shipped} == {
        example.id: example.gold_ids for example in EXAMPLES
    }


def test_questions_share_few_words_with_their_passages():
    # Measured when the questions were finished (Python 3.11 to 3.13): 0.16 for the first 115, 0.18 for the later ones.
    assert mean(map(overlap, EXAMPLES)) < 0.20
    assert max(map(overlap, EXAMPLES)) < 0.70


@pytest.mark.parametrize("quote", ["the moon is made of cheese", "", None])
def test_a_quote_that_no_passage_holds_is_an_error_that_names_the_example(quote):
    example = EXAMPLES[0]
    changed = replace(example, extra={**example.extra, "evidence": [*example.extra["evidence"], quote]})
    with pytest.raises(EvaluationError, match=rf"'{example.id}'.*{re.escape(repr(quote))}"):
        resolve_gold([changed], python_reference_documents())


def test_an_example_without_evidence_is_an_error_that_names_it():
    with pytest.raises(EvaluationError, match=rf"'{EXAMPLES[0].id}'.*\bevidence\b.*\bNone\b"):
        resolve_gold([replace(EXAMPLES[0], extra={})], python_reference_documents())


def test_an_unknown_split_is_refused():
    with pytest.raises(InputError, match=r"\bsplit\b.*'train'.*'dev'.*'test'"):
        load_python_reference("train")


def test_every_passage_of_every_topic_is_in_the_corpus_once():
    def layout_free(text):
        return re.sub(r"\[\d+\]", "", "".join(text.split()))

    kept = Counter(
        layout_free(document.content.removeprefix(f"{document.metadata['heading']}\n\n"))
        for document in python_reference_documents()
    )
    assert kept == Counter({layout_free(p.text) for text in topics.values() for p in split_passages(text)})


def test_passages_have_unique_ids_that_name_topic_and_place():
    documents = python_reference_documents()
    assert len(CONTENTS) == len(documents)
    for document in documents:
        topic, place = document.id.split("/")
        assert split_passages(topics[topic])[int(place) - 1].content == document.content
        assert document.metadata["topic"] == topic


def test_it_needs_neither_numpy_nor_torch():
    code = (
        "import sys; from reasonembed_rag.evaluation.python_reference import load_python_reference as load; load();"
        "sys.exit(bool({'numpy', 'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
