"""Notebooks: prose and code under their headings, with short outputs; damaged ones are named."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasonembed_rag.errors import InputError
from reasonembed_readers import file_kind, read_file

LONG = "Cats sleep for most of the day. " * 40


def _markdown(*lines):
    return {"cell_type": "markdown", "metadata": {}, "source": list(lines)}


def _code(source, *outputs):
    return {"cell_type": "code", "metadata": {}, "source": source, "outputs": list(outputs), "execution_count": 1}


def _read(tmp_path, notebook):
    path = tmp_path / "n.ipynb"
    path.write_text(notebook if isinstance(notebook, str) else json.dumps(notebook), encoding="utf-8")
    notes = []
    assert file_kind(path).name == "notebook"
    return list(read_file(path, on_note=notes.append)), notes


def _notebook(*cells, **metadata):
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": list(cells)}


def test_cells_are_joined_up_to_the_next_heading(tmp_path):
    cells = (_markdown("# Cats\n", "Words."), _code("x = 1\nx"), _markdown("## Sleep"), _code("y = 2"))
    parts, notes = _read(tmp_path, _notebook(*cells))
    assert [part.text for part in parts] == [
        "# Cats\nWords.\n\n```python\nx = 1\nx\n```",
        "## Sleep\n\n```python\ny = 2\n```",
    ]
    assert [part.heading for part in parts] == [(), ("Cats",)]
    assert [part.metadata["cell"] for part in parts] == [1, 3]
    assert notes == []


def test_long_cells_are_parts_under_the_heading_above_them(tmp_path):
    parts, _ = _read(tmp_path, _notebook(_markdown("# A"), _markdown("## B"), _markdown(LONG), _markdown(LONG)))
    assert [part.heading for part in parts] == [(), ("A",), ("A", "B"), ("A", "B")]


def test_a_heading_in_code_is_none(tmp_path):
    parts, _ = _read(tmp_path, _notebook(_markdown("```\n# no\n```"), _code("# no"), _markdown(LONG)))
    assert [part.heading for part in parts] == [(), ()]


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ({"output_type": "stream", "name": "stdout", "text": ["12\n", "13\n"]}, "12\n13"),
        ({"output_type": "execute_result", "data": {"text/plain": ["42"]}, "metadata": {}}, "42"),
        ({"output_type": "pyout", "text": "\x1b[31m7\x1b[0m"}, "7"),
    ],
)
def test_short_outputs_are_kept(tmp_path, output, text):
    parts, notes = _read(tmp_path, _notebook(_code("f()", output)))
    assert parts[0].text == f"```python\nf()\n```\n\n```\n{text}\n```"
    assert notes == []


@pytest.mark.parametrize(
    "output",
    [
        {"output_type": "stream", "text": LONG},
        {"output_type": "display_data", "data": {"image/png": "iVBO", "text/plain": "<Figure>"}},
        {"output_type": "error", "ename": "E", "evalue": "e", "traceback": ["x"]},
    ],
)
def test_other_outputs_are_left_out_and_told(tmp_path, output):
    parts, notes = _read(tmp_path, _notebook(_code("f()", output)))
    assert parts[0].text == "```python\nf()\n```"
    assert ["outputs" in note for note in notes] == [True]


def test_the_language_is_the_kernels(tmp_path):
    parts, _ = _read(tmp_path, _notebook(_code("f <- 1"), language_info={"name": "R"}))
    assert parts[0].text.startswith("```r\n")
    assert parts[0].metadata["language"] == "r"


def test_format_3_is_read(tmp_path):
    cells = [
        {"cell_type": "heading", "level": 2, "source": ["Sleep"]},
        {
            "cell_type": "code",
            "language": "python",
            "input": ["x = 1"],
            "outputs": [{"output_type": "pyout", "text": "1"}],
        },
    ]
    parts, _ = _read(tmp_path, {"nbformat": 3, "metadata": {"name": ""}, "worksheets": [{"cells": cells}]})
    assert [part.text for part in parts] == ["## Sleep\n\n```python\nx = 1\n```\n\n```\n1\n```"]


def test_half_a_character_is_replaced(tmp_path):
    parts, _ = _read(tmp_path, _notebook(_markdown("\ud83d\ude00 \ud83d\0")))
    assert parts[0].text == "\U0001f600 \ufffd"


def test_code_with_fences_in_it_has_a_longer_fence(tmp_path):
    parts, _ = _read(tmp_path, _notebook(_code("'''\n```\n'''")))
    assert parts[0].text == "````python\n'''\n```\n'''\n````"


@pytest.mark.parametrize("notebook", [_notebook(), _notebook(_markdown(""), _code(" \n"))])
def test_a_notebook_without_words_has_no_parts(tmp_path, notebook):
    assert _read(tmp_path, notebook) == ([], [])


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", ":1"),
        ('{"cells": [\n{', ":2"),
        ("[]", "n.ipynb"),
        ('{"nbformat": 4}', "n.ipynb"),
        ('{"cells": 1}', "n.ipynb"),
        ('{"cells": [1]}', "cell 1"),
        ('{"cells": [{"cell_type": "code", "source": 7}]}', "cell 1"),
        ("[" * 100_000, "n.ipynb"),
        ('{"cells": [' + "9" * 5000 + "]}", "n.ipynb"),
    ],
)
def test_what_is_no_notebook_is_refused_by_name(tmp_path, text, place):
    with pytest.raises(InputError, match=place):
        _read(tmp_path, text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["cells", "source", "input", "cell_type", "outputs", "data", "text", "level", "metadata", "worksheets"]
            ),
            inner | st.sampled_from(["code", "markdown", "heading"]),
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON, st.booleans())
@settings(max_examples=200)
def test_any_json_is_read_or_refused(tmp_path_factory, value, as_cell):
    path = tmp_path_factory.mktemp("notebooks") / "n.ipynb"
    path.write_text(json.dumps(_notebook(value) if as_cell else value))
    with suppress(InputError):
        assert all(part.text.strip() for part in read_file(path))
