"""The closed forms equal brute force over pairs, and each figure says what it should of clouds that are known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasonembed_rag.errors import InputError
from reasonembed_rag.robustness import embedding_geometry as module
from reasonembed_rag.robustness.embedding_geometry import alignment, geometry


def _cloud(count, dimension, *, seed=0, shift=0.0):
    vectors = np.random.default_rng(seed).standard_normal((count, dimension)) + shift
    return vectors.astype(np.float32)


def _brute_force(vectors, k):
    unit = [row / np.sqrt(sum(x * x for x in row)) for row in vectors.astype(np.float64)]
    count, dimension = vectors.shape
    pairs = [(i, j) for i in range(count) for j in range(count) if i != j]
    mean = sum(unit) / count
    covariance = sum(np.outer(row - mean, row - mean) for row in unit) / count
    eigenvalues = np.linalg.eigvalsh(covariance)
    singular = np.linalg.svd(np.stack(unit), compute_uv=False)
    shares = singular / singular.sum()
    times = np.zeros(count)
    for i in range(count):
        order = sorted((j for j in range(count) if j != i), key=lambda j: float(np.sum((unit[i] - unit[j]) ** 2)))
        times[order[:k]] += 1
    apart = times - times.mean()
    return {
        "average_cosine": np.mean([unit[i] @ unit[j] for i, j in pairs]),
        "isoscore": (eigenvalues.sum() ** 2 / (eigenvalues**2).sum() - 1) / (dimension - 1),
        "effective_rank": np.exp(-sum(p * np.log(p) for p in shares if p > 0)),
        "uniformity": np.log(np.mean([np.exp(-2 * np.sum((unit[i] - unit[j]) ** 2)) for i, j in pairs])),
        "hubness": np.mean(apart**3) / np.mean(apart**2) ** 1.5 if apart.any() else 0.0,
    }


@settings(max_examples=25, deadline=None)
@given(st.integers(3, 30), st.integers(2, 9), st.integers(0, 2**31), st.floats(-1, 1))
def test_every_figure_equals_brute_force(count, dimension, seed, shift):
    vectors = _cloud(count, dimension, seed=seed, shift=shift)
    found = geometry(vectors, k=2)
    for name, value in _brute_force(vectors, 2).items():
        assert getattr(found, name) == pytest.approx(value, abs=1e-6, rel=1e-6), name


def test_blocks_change_nothing(monkeypatch):
    vectors = _cloud(70, 6)
    whole = geometry(vectors)
    monkeypatch.setattr(module, "_BLOCK", 16)
    for name, value in vars_of(geometry(vectors)).items():
        assert value == pytest.approx(getattr(whole, name), abs=1e-12)


def vars_of(figures):
    return {
        name: getattr(figures, name)
        for name in ("average_cosine", "isoscore", "effective_rank", "uniformity", "hubness")
    }


def test_pairs_of_many_vectors_are_sampled_by_seed_and_the_rest_is_exact(monkeypatch):
    vectors = _cloud(300, 5, shift=0.5)
    whole = geometry(vectors)
    monkeypatch.setattr(module, "_PAIRS_FROM", 200)
    first, again, other = geometry(vectors), geometry(vectors), geometry(vectors, seed=1)
    assert first == again
    assert first.uniformity != other.uniformity
    assert first.uniformity == pytest.approx(whole.uniformity, abs=0.2)
    assert (first.average_cosine, first.isoscore) == (whole.average_cosine, whole.isoscore)
    assert (first.pairs_from, first.vectors) == (200, 300)


def test_known_clouds_have_known_figures():
    axes = np.concatenate([np.eye(8), -np.eye(8)])
    even = geometry(axes)
    assert even.isoscore == pytest.approx(1.0)
    assert even.effective_rank == pytest.approx(8.0)
    assert even.average_cosine == pytest.approx(-1 / 15)
    line = np.zeros((10, 4))
    line[:, 0] = np.where(np.arange(10) % 2, 1.0, -3.0)
    assert geometry(line).isoscore == pytest.approx(0.0, abs=1e-12)
    same = geometry(np.ones((5, 3)))
    assert (same.isoscore, same.average_cosine) == (0.0, pytest.approx(1.0))
    assert same.effective_rank == pytest.approx(1.0)


def test_a_hub_shows_as_skewness():
    spread = _cloud(200, 40, shift=0.3)
    hub = np.concatenate([spread, spread.mean(axis=0) + 0.02 * _cloud(4, 40, seed=1)])
    assert geometry(hub).hubness > geometry(spread).hubness + 1


def test_lengths_do_not_count():
    vectors = _cloud(20, 5)
    scaled = vectors * np.linspace(1, 50, 20, dtype=np.float32)[:, None]
    for name, value in vars_of(geometry(scaled)).items():
        assert value == pytest.approx(getattr(geometry(vectors), name), abs=1e-6)


def test_alignment_is_the_mean_squared_distance_of_positives():
    first, second = _cloud(9, 4), _cloud(9, 4, seed=1)
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (first, second)]
    assert alignment(first, second) == pytest.approx(
        np.mean([((a - b) ** 2).sum() for a, b in zip(*unit, strict=True)])
    )
    assert alignment(first[:1], first[:1] * 2) == pytest.approx(0.0, abs=1e-12)
    assert geometry(first, (first, second)).alignment == alignment(first, second)
    assert geometry(first).alignment is None


@pytest.mark.parametrize(
    ("vectors", "problem"),
    [
        (np.ones((1, 4)), r"\(1, 4\)"),
        (np.ones(4), r"\(4,\)"),
        (np.ones((4, 1)), r"\(4, 1\)"),
        (np.asarray([[1.0, 0.0], [0.0, 0.0]]), r"\bvector 1\b.*\b0\b"),
        (np.asarray([[np.nan, 0.0], [1.0, 0.0]]), r"\bvector 0\b.*\bnan\b"),
    ],
)
def test_vectors_without_geometry_are_refused(vectors, problem):
    with pytest.raises(InputError, match=problem):
        geometry(vectors)
    with pytest.raises(InputError, match=r"\bk\b.*\b0\b"):
        geometry(np.eye(3), k=0)
    with pytest.raises(InputError, match=r"\(3, 3\).*\(4, 4\)"):
        alignment(np.eye(3), np.eye(4))
