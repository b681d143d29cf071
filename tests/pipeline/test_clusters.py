"""k-means against its own definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasonembed_rag.errors import InputError
from reasonembed_rag.pipeline.clusters import k_means


@given(
    count=st.integers(1, 8),
    extra=st.integers(0, 30),
    repeats=st.booleans(),
    seed=st.integers(0, 5),
)
@settings(max_examples=60, deadline=None)
def test_every_group_has_vectors_and_its_centre_is_their_mean(count, extra, repeats, seed):
    vectors = np.random.default_rng(seed).standard_normal((count + extra, 3)).astype(np.float32)
    if repeats:
        vectors[:] = vectors[0]
    clusters = k_means(vectors, count, seed=seed)
    assert set(clusters.labels) == set(range(count))
    for group in range(count):
        mean = vectors[clusters.labels == group].astype(np.float64).mean(axis=0)
        assert np.allclose(clusters.centres[group], mean)


def test_every_vector_is_in_the_group_of_the_nearest_centre():
    vectors = np.random.default_rng(0).standard_normal((200, 4))
    clusters = k_means(vectors, 7)
    distances = np.linalg.norm(vectors[:, None] - clusters.centres[None], axis=2)
    assert np.array_equal(distances.argmin(axis=1), clusters.labels)


def test_separate_clusters_are_found_with_any_seed():
    generator = np.random.default_rng(0)
    heap = np.repeat(np.arange(4), 20)
    vectors = np.eye(4)[heap] * 50 + generator.standard_normal((80, 4))
    for seed in range(5):
        labels = k_means(vectors, 4, seed=seed).labels
        assert len({(own, found) for own, found in zip(heap, labels, strict=True)}) == 4
        assert np.array_equal(labels, k_means(vectors, 4, seed=seed).labels)


@pytest.mark.parametrize("count", [0, 4])
def test_more_groups_than_vectors_are_refused(count):
    with pytest.raises(InputError, match=rf"\b1\b.*\b3\b.*\b{count}\b.*\(3, 3\)"):
        k_means(np.eye(3), count)
