"""HotFlip, every step of it checked against all swaps there are."""

from __future__ import annotations

import json

import numpy as np
import pytest

from reasonembed_rag.errors import InputError
from reasonembed_rag.pipeline import k_means
from reasonembed_rag.robustness.hotflip_attack import fit_to_length, hotflip

SETTINGS = {"passages": 3, "tokens": 12, "steps": 25}


def attack(bag, task, **changes):
    queries = [example.query for example in task.examples]
    return hotflip(bag, queries, task.documents, **(SETTINGS | changes))


def centres(bag, task, *, passages=3, seed=0):
    return k_means(bag.encode_queries([example.query for example in task.examples]), passages, seed=seed).centres


def test_similarity_never_falls_and_is_that_of_the_text(bag, task):
    poison = attack(bag, task)
    for text, history, centre in zip(poison.texts, poison.history, centres(bag, task), strict=True):
        assert len(history) == SETTINGS["steps"] + 1
        assert (np.diff(history) >= 0).all()
        assert history[-1] > history[0]
        assert history[-1] == pytest.approx(float(bag.encode_documents([text])[0] @ centre), abs=1e-6)
        assert len(bag.tokens([text])[0]) == SETTINGS["tokens"]
    assert sum(poison.cluster_sizes) == len(task.examples)


def test_the_centre_stands_for_the_mean_over_the_clusters_queries(bag, task):
    poison = attack(bag, task)
    vectors = bag.encode_queries([example.query for example in task.examples])
    labels = k_means(vectors, 3).labels
    for group, passage in enumerate(poison.passages):
        mean = float((vectors[labels == group] @ bag.encode_documents([passage.text])[0]).mean())
        assert passage.similarity == pytest.approx(mean, abs=1e-6)


def test_a_step_takes_the_best_of_all_swaps_where_all_are_tried(bag, task):
    before = attack(bag, task, steps=4, passages=1, candidates=10_000).passages[0]
    after = attack(bag, task, steps=5, passages=1, candidates=10_000).passages[0]
    centre = centres(bag, task, passages=1)[0]
    place = int(np.random.default_rng([0, 0, 4]).integers(SETTINGS["tokens"]))
    words = before.text.split()
    swapped = [" ".join([*words[:place], word, *words[place + 1 :]]) for word in bag.words]
    best = max(float(similarity) for similarity in bag.encode_documents(swapped) @ centre)
    assert after.similarity == pytest.approx(max(best, before.similarity), abs=1e-6)
    assert after.history[:-1] == before.history


def test_few_candidates_are_the_most_promising_ones(bag, task):
    narrow, wide = (attack(bag, task, candidates=candidates) for candidates in (3, 10_000))
    gained = [sum(passage.similarity - passage.history[0] for passage in poison.passages) for poison in (narrow, wide)]
    assert gained[0] > 0.8 * gained[1]


def test_a_swap_that_does_not_read_as_it_was_written_is_never_taken(bag, task):
    ready = bag.texts

    def forgetful(tokens):
        texts = zip(tokens, ready(tokens), strict=True)
        return [text if ids.sum() % 2 else text.rpartition(" ")[0] for ids, text in texts]

    bag.texts = forgetful
    for passage in attack(bag, task).passages:
        assert passage.similarity > passage.history[0]
        assert len(bag.tokens([passage.text])[0]) == len(bag.tokens([passage.start])[0])


def test_the_same_seed_gives_the_same_passages_and_another_gives_others(bag, task):
    assert attack(bag, task) == attack(bag, task)
    assert attack(bag, task).texts != attack(bag, task, seed=1).texts


def test_passages_start_from_the_text_of_the_most_central_query(bag, task):
    starts = [f"{word} " * 3 for word in bag.words[: len(task.examples)]]
    poison = attack(bag, task, starts=starts, steps=1)
    vectors = bag.encode_queries([example.query for example in task.examples])
    nearest = (centres(bag, task) @ vectors.T).argmax(axis=1)
    assert [passage.start.split()[0] for passage in poison.passages] == [bag.words[query] for query in nearest]


class Stop(Exception):  # noqa: N818 - it is a kill, not an error
    pass


@pytest.mark.parametrize(("last", "first"), [(19, 1), (20, 21), (47, 46), (74, 71)])
def test_a_killed_attack_continues_to_the_same_passages(bag, task, tmp_path, last, first):
    path, done = tmp_path / "attack.json", []

    def kill(step, total):
        assert total == 75
        if step == last:
            raise Stop

    with pytest.raises(Stop):
        attack(bag, task, checkpoint=path, on_progress=kill)
    poison = attack(bag, task, checkpoint=path, on_progress=lambda step, _: done.append(step))
    assert poison == attack(bag, task)
    assert done == list(range(first, 76))
    assert attack(bag, task, checkpoint=path, on_progress=lambda *_: pytest.fail("nothing was left")) == poison


def test_a_checkpoint_of_another_attack_is_refused(bag, task, tmp_path):
    path = tmp_path / "attack.json"
    attack(bag, task, checkpoint=path)
    for changes in ({"seed": 1}, {"tokens": 13}, {"starts": ["common1"] * 48}, {"candidates": 7}):
        with pytest.raises(InputError, match=r"\battack\.json\b.*\bsettings\b"):
            attack(bag, task, checkpoint=path, **changes)
    path.write_text(json.dumps({"passages": []}))
    with pytest.raises(InputError, match=r"\battack\.json\b.*\bdigest\b"):
        attack(bag, task, checkpoint=path)


def test_more_steps_continue_from_what_is_done_and_fewer_are_refused(bag, task, tmp_path):
    path, done = tmp_path / "attack.json", []
    attack(bag, task, checkpoint=path, steps=10)
    further = attack(bag, task, checkpoint=path, steps=14, on_progress=lambda step, _: done.append(step))
    assert further == attack(bag, task, steps=14)
    assert done == [11, 12, 13, 14, 25, 26, 27, 28, 39, 40, 41, 42]
    with pytest.raises(InputError, match=r"\battack\.json\b.*\b14 steps\b"):
        attack(bag, task, checkpoint=path, steps=13)


def test_an_embedder_without_gradients_is_refused_before_any_work(task, make_embedder, tmp_path):
    words = make_embedder(model="served")
    with pytest.raises(InputError, match=r"\bWordEmbedder\b.*\bserved\b.*\bEncoder\.from_pretrained\b"):
        attack(words, task, checkpoint=tmp_path / "attack.json")
    assert words.calls == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"passages": 0}, r"\bpassages\b.*\b0\b.*\b1\b"),
        ({"steps": 0}, r"\bsteps\b.*\b0\b"),
        ({"tokens": -1}, r"\btokens\b.*-1\b"),
        ({"candidates": 0}, r"\bcandidates\b.*\b0\b"),
        ({"passages": 49}, r"\b48\b.*\b49\b"),
        ({"starts": ["one"]}, r"\b1\b.*\b48\b"),
        ({"starts": ["???"] * 48}, r"'\?\?\?'.*\btoken"),
    ],
)
def test_settings_that_cannot_be_met_are_refused(bag, task, changes, message):
    with pytest.raises(InputError, match=message):
        attack(bag, task, **changes)


@pytest.mark.parametrize("words", [1, 5, 12, 40])
def test_a_text_is_repeated_or_cut_to_the_length(bag, words):
    text = fit_to_length(bag, " ".join(bag.words[:words]), tokens=12)
    assert text.split() == (bag.words[:words] * 12)[:12]
