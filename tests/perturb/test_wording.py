"""Words are told from code, formulae and addresses, and English from other languages."""

import pytest

from reasonembed_rag.perturb.wording import is_english, words_of


@pytest.mark.parametrize(
    "kept",
    [
        "`a b c`",
        "```python\nfor x in y:\n    print(x)\n```",
        "$x + y$",
        "$$\\int_0^1 x dx$$",
        "\\(x + y\\)",
        "\\begin{align} x &= y \\end{align}",
        "https://example.org/a/page?x=1",
        "foo_bar",
        "list.append(x)",
        "std::vector",
        "camelCase",
        "x^2",
        "H2O",
        "/usr/share/dict",
        "a->b",
        "C#",
        "\n    return value of the function\n",
        "\n\tthe second line of code\n",
    ],
)
def test_code_formulae_and_addresses_hold_no_words(kept):
    text = f"Explain this {kept} please"
    assert [word.text for word in words_of(text)] == ["Explain", "this", "please"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It costs $5 or $10 today", ["It", "costs", "5", "or", "10", "today"]),
        (
            "Boston's well-known (old) pub, isn\u2019t it?",
            ["Boston's", "well", "known", "old", "pub", "isn\u2019t", "it"],
        ),
        ("Ellipsis... and dashes \u2014 all fine", ["Ellipsis", "and", "dashes", "all", "fine"]),
        ("naïve façade", ["naïve", "façade"]),
        ("", []),
    ],
)
def test_words_are_runs_of_letters_where_they_stand(text, words):
    found = words_of(text)
    assert [word.text for word in found] == words
    assert all(text[word.start : word.stop] == word.text for word in found)


@pytest.mark.parametrize(
    ("text", "english"),
    [
        ("why is the sky blue", True),
        ("sky blue rayleigh scattering", True),
        ("The café where Müller met El Niño", True),
        ("warum ist der himmel blau", False),
        ("por qué el cielo es azul", False),
        ("perché il cielo è blu", False),
        ("waarom is de lucht blauw en niet het gras", False),
        ("天空", False),
        ("почему небо голубое", False),
        ("", False),
    ],
)
def test_english_is_detected_by_its_letters_and_function_words(text, english):
    assert is_english(words_of(text)) is english
