"""Words become Lucene's English terms."""

import pytest

from reasonembed_rag.retrieval.analyzer import STOP_WORDS, EnglishAnalyzer


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("The Moon's tides are RISING", ["moon", "tide", "rise"]),
        ("moon\u2019s can't o'clock's", ["moon", "can't", "o'clock"]),
        ("pi is 3.14, about 22/7; 1,000 or 1.000.", ["pi", "3.14", "about", "22", "7", "1,000", "1.000"]),
        ("numpy.linalg x_y __init__ ___", ["numpy.linalg", "x_y", "__init__"]),
        ("end. Start a.b.c", ["end", "start", "a.b.c"]),
        ("x1 1.x", ["x1", "1", "x"]),
        ("naïve cafe\u0301", ["naïv", "cafe\u0301"]),
        ("月の光", ["月", "の", "光"]),
        ("", []),
        ("-- ... ''", []),
    ],
)
def test_text_becomes_terms(text, terms):
    assert EnglishAnalyzer().terms(text) == terms


def test_stop_words_are_removed_in_any_case_and_with_a_possessive():
    analyzer = EnglishAnalyzer()
    assert analyzer.terms(" ".join([*STOP_WORDS, *(word.upper() for word in STOP_WORDS), "it's"])) == []
    assert len(STOP_WORDS) == 33


def test_a_second_reading_of_a_word_gives_the_same_term():
    analyzer = EnglishAnalyzer()
    assert analyzer.terms("running the running") == analyzer.terms("running running") == ["run", "run"]
