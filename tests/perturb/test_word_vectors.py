"""Neighbours of a word are those of high enough cosine, nearest first."""

import numpy as np
import pytest

from reasonembed_rag.errors import InputError
from reasonembed_rag.perturb.thesaurus import Thesaurus, read_word_vectors


@pytest.fixture
def vectors():
    drawn = np.random.default_rng(0).standard_normal((40, 3)).round(3)
    return {"w" + chr(97 + n // 10) + chr(97 + n % 10): row for n, row in enumerate(drawn)}


@pytest.fixture
def path(tmp_path, vectors):
    lines = [f"{word} {' '.join(map(str, row))}\n" for word, row in vectors.items()]
    path = tmp_path / "glove.txt"
    path.write_text("".join(["42 3\n", *lines, "Paris 1 0 0\n", "don't 0 1 0\n", "zero 0 0 0\n"]))
    return path


def test_neighbours_equal_brute_force(path, vectors):
    found = read_word_vectors(path, threshold=0.8)
    assert len(found) == 41
    for word, row in vectors.items():
        cosine = {o: r @ row / np.linalg.norm(r) / np.linalg.norm(row) for o, r in vectors.items() if o != word}
        assert found[word] == tuple(sorted((o for o in cosine if cosine[o] >= 0.8), key=lambda o: -cosine[o]))
    assert found["zero"] == ()
    assert all(len(read_word_vectors(path, threshold=-1, most=3)[word]) == 3 for word in vectors)


def test_a_thesaurus_of_neighbours_knows_only_their_words(path):
    thesaurus = Thesaurus("word vectors", read_word_vectors(path))
    assert thesaurus.synonyms("unknown") == ()
    assert thesaurus.synonyms("Paris") == ()
    assert any(thesaurus.synonyms(word) for word in ("waa", "wbb", "wcc", "wdd"))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a 1 2 3\nb 1 2\n", r"/v\.txt:2\b.*\b2\b.*\b3\b"),
        ("a 1 2\nb 1 x\n", r"/v\.txt:2\b.*'1 x\\n'"),
        ("a 1 2\nb 1 nan\n", r"/v\.txt:2\b.*\bfinite\b"),
        ("", r"/v\.txt\b.*\blower case\b"),
        ("ABC 1 2\n", r"/v\.txt\b.*\blower case\b"),
    ],
)
def test_a_malformed_file_is_named_by_its_line(tmp_path, text, problem):
    (tmp_path / "v.txt").write_text(text)
    with pytest.raises(InputError, match=problem):
        read_word_vectors(tmp_path / "v.txt")
    with pytest.raises(InputError, match=r"/absent\.txt\b"):
        read_word_vectors(tmp_path / "absent.txt")
