"""Web pages as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasonembed_readers import html_to_text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>a</p><p>b</p>", "a\n\nb"),
        ("<h2>T</h2>x<br>y", "## T\n\nx\ny"),
        ("<ul><li>a</li><li>b  c</li></ul>", "- a\n- b c"),
        ("<pre>a\n  b</pre>", "```\na\n  b\n```"),
        ("a<style>.x{}</style>b &lt; c", "ab < c"),
        ("<p>never <b>closed", "never closed"),
        ("plain", "plain"),
    ],
)
def test_html_becomes_text(html, text):
    assert html_to_text(html) == text


@given(st.text(alphabet=st.sampled_from("<>/ab&;\"' \nhp12script!-"), max_size=80))
def test_any_string_is_read_as_html_without_an_error(html):
    assert isinstance(html_to_text(html), str)
