"""Web pages as text."""

from __future__ import annotations

import html as escaping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasonembed_rag.errors import InputError
from reasonembed_readers import Part, html_to_text, read_file

SHOWN = {
    "paragraphs": ("<p>a</p><p>b</p>", "a\n\nb"),
    "a heading and a line break": ("<h2>T</h2>x<br>y", "## T\n\nx\ny"),
    "a list": ("<ul><li>a</li><li>b  c</li></ul>", "- a\n- b c"),
    "a list within a list": ("<ul><li>a<ul><li>b<li>c</ul><li>d</ul>", "- a\n  - b\n  - c\n- d"),
    "paragraphs of a list": ("<ul><li><p>a<li><p>b<p>c</ul>", "- a\n- b\n\n  c"),
    "a numbered list": ("<ol start=3><li>a<li>b</ol>", "3. a\n4. b"),
    "definitions": ("<dl><dt>a<dd>b<dt>c<dd>d</dl>", "a\n\n    b\n\nc\n\n    d"),
    "preformatted text": ("<pre>a\n  b</pre>", "```\na\n  b\n```"),
    "a listing": ('<pre><code class="language-python">x = 1</code></pre>', "```python\nx = 1\n```"),
    "a listing of Sphinx": (
        '<div class="highlight-c"><div class="highlight"><pre>x;</pre></div></div>',
        "```c\nx;\n```",
    ),
    "a listing with a fence": ("<pre>```\nx\n```</pre>", "````\n```\nx\n```\n````"),
    "a listing with line breaks": ("<pre>a<br>b</pre>", "```\na\nb\n```"),
    "a table": ("<table><tr><th>a<th>b<tr><td>1<td>2<br>3</table>", "| a | b |\n| --- | --- |\n| 1 | 2 3 |"),
    "a caption": ("<table><caption>C</caption><tr><td>1<td>2</table>", "C\n\n| 1 | 2 |"),
    "a table that lays out a page": ("<table><tr><td><h2>T</h2>x<td><p>y</table>", "## T\n\nx\n\ny"),
    "a table of one column": ("<table><tr><td>a<tr><td>b</table>", "a\n\nb"),
    "buttons": ("Press<button>Save</button><button>Cancel</button>", "Press Save Cancel"),
    "details": ("<details><summary>More</summary>text</details>", "More\n\ntext"),
    "a figure": ('<figure><img src=x alt="A cat"><figcaption>Asleep</figcaption></figure>', "A cat\n\nAsleep"),
    "entities": ("a &lt; b &amp;&nbsp;c&eacute; &#8364;", "a < b & cé €"),
    "inline elements": ("re<b>mark</b>able <i>x</i>", "remarkable x"),
    "an exponent": ("<p>10<sup>-3</sup> of the 1<sup>st</sup> H<sub>2</sub>O", "10^-3 of the 1st H2O"),
    "a ruby": ("<ruby>漢<rp>(</rp><rt>kan</rt><rp>)</rp></ruby>", "漢(kan)"),
    "a choice": ("Leave<select><option>annual<option>sick</select>", "Leave\n\nannual sick"),
    "a formula": (
        '<math><mi>x</mi><annotation encoding="application/x-tex">x^2</annotation></math>',
        "x^2",
    ),
    "a soft hyphen": ("moun&shy;tain", "mountain"),
    "half a character": ("a\ud83d b", "a? b"),
    "never closed": ("<p>never <b>closed", "never closed"),
    "no element": ("plain", "plain"),
    "no end of the head": (
        "<!doctype html><head><meta charset=utf-8><title>Leave</title><body><h1>Leave</h1><p>25 days.</p>",
        "# Leave\n\n25 days.",
    ),
    "no body": ("<title>Leave</title><p>25 days.", "# Leave\n\n25 days."),
    "a title that no heading repeats": ("<title>Leave</title><h2>Days</h2>25", "# Leave\n\n## Days\n\n25"),
    "a title that a heading repeats": ("<title>Leave | HR</title><h1>Leave</h1>25", "# Leave\n\n25"),
    "a title that is never closed": ("<title>Leave<body><p>25 days", "# Leave\n\n25 days"),
    "a heading that is never closed": ("<h1>Leave<p>25 days<p>a year", "# Leave\n\n25 days\n\na year"),
    "a heading of two lines": ("<h1>Annual<br>leave</h1>x", "# Annual leave\n\nx"),
    "XHTML": (
        "<?xml version='1.0'?><html><head><title/><script src='x'/></head><body><p>a<a id='y'/>b</p></body></html>",
        "ab",
    ),
    "text after the end": ("<html><body>a</body></html><p>b", "a\n\nb"),
    "a page that scripts show": ("<html hidden><body style='display:none' class=nav><p>a", "a"),
    "a footer of an article": ("<article><p>a</p><footer>By Ann</footer></article>", "a\n\nBy Ann"),
    "an aside of text": ("<main><p>a<aside>A <a href=x>note</a> on it.</aside></main>", "a\n\nA note on it."),
    "a page that is all navigation": ("<nav><a href=x>Install</a> <a href=y>Use</a></nav>", "Install Use"),
    "a page in what is hidden from screen readers": (
        f"<div aria-hidden=true><p>{'word ' * 90}</div>",
        ("word " * 90)[:-1],
    ),
}


@pytest.mark.parametrize("name", SHOWN)
def test_the_text_is_what_a_browser_shows(name):
    html, text = SHOWN[name]
    assert html_to_text(html) == text


NOT_TEXT = {
    "style": "<style>.x{}</style>",
    "script": "<script>no()</script>",
    "script within": "<p>x<script>no</script></p>",
    "comment": "<!-- no -->",
    "template": "<template><p>no</template>",
    "noscript": "<noscript>no</noscript>",
    "hidden": "<p hidden>no</p>",
    "display": '<p style="color:red; display: none">no</p>',
    "navigation": "<nav><ul><li><a href=x>no</a></ul></nav>",
    "navigation by role": '<div role="navigation">no</div>',
    "sidebar": '<div class="sidebar"><a href=x>no</a> <a href=y>no</a></div>',
    "contents": '<ul><li><a href="#a">no</a><li><a href="#b">no</a><li><a href="#c">no</a></ul>',
    "skip link": '<a href="#main">Skip to no</a>',
    "footer": "<footer><p>no</p></footer>",
    "cookies": '<div class="cookie-banner">no</div>',
    "sign of a heading": '<h2>x <a href="#x" title="no">¶</a></h2>',
    "line numbers": '<pre><span class="lineno">no</span>x</pre>',
    "icon": "<svg><title>no</title></svg>",
}


@pytest.mark.parametrize("name", NOT_TEXT)
def test_what_is_not_shown_and_navigation_are_left_out(name):
    text = html_to_text(f"<main><p>Cats sleep.</p></main>{NOT_TEXT[name]}<p>Whales sing.</p>")
    assert "Cats sleep." in text
    assert "Whales sing." in text
    assert "no" not in text
    assert "¶" not in text


@pytest.mark.parametrize("name", ["sidebar", "menu", "footer", "toc", "header"])
def test_text_is_kept_where_only_its_class_is_that_of_navigation(name):
    html = f'<div class="{name}">The soup of the day is <a href=x>leek</a>, and it is served until noon.</div><p>x</p>'
    assert "The soup of the day is leek, and it is served until noon." in html_to_text(html)


INLINE = ("a", "b", "span", "code", "em", "label")
BLOCK = (
    "p",
    "div",
    "section",
    "blockquote",
    "h2",
    "h5",
    "ul",
    "li",
    "dd",
    "dt",
    "td",
    "pre",
    "details",
    "figure",
    "article",
)
words = st.text(alphabet="abcé汉 \n&<>\"'", min_size=1, max_size=12)


@st.composite
def trees(draw, depth=4):
    if depth == 0 or draw(st.integers(0, 3)) == 0:
        return escaping.escape(draw(words))
    tag = draw(st.sampled_from((*INLINE, *BLOCK)))
    inner = "".join(draw(st.lists(trees(depth - 1), max_size=3)))
    closed = draw(st.booleans())
    opened = "<table><tr><td>a" if tag == "td" else ""
    return f"{opened}<{tag}>{inner}" + (f"</{tag}>" if closed else "")


def letters(text):
    return [sign for sign in text if sign.isalpha()]


@given(st.lists(trees(), max_size=4))
def test_no_visible_text_is_lost_or_comes_in_another_order(made):
    from selectolax.lexbor import LexborHTMLParser

    page = f"<body>{''.join(made)}"
    body = LexborHTMLParser(page).body
    assert body is not None
    assert letters(html_to_text(page)) == letters(body.text())


@given(st.text(alphabet=st.sampled_from("<>/ab&;\"' \nhp12script!-"), max_size=80))
def test_any_string_is_read_as_html_without_an_error(html):
    assert isinstance(html_to_text(html), str)


def test_a_page_nests_deeper_than_python_recurses():
    assert html_to_text("<div>" * 3000 + "<ul><li>" * 300 + "deep").endswith("- deep")


def test_a_page_that_nests_without_end_is_refused_by_name_at_once(tmp_path):
    (tmp_path / "a.html").write_text("<div>" * 1_000_000 + "x")
    with pytest.raises(InputError, match=r"a\.html: .*1,000,000"):
        list(read_file(tmp_path / "a.html"))
    assert html_to_text("<p>a<br>" * 20_000).count("a") == 20_000


def test_a_page_tells_its_title_and_what_it_says_of_itself(tmp_path):
    (tmp_path / "a.html").write_text(
        '<html lang="en"><title>Leave</title><meta name=Description content="How many\n days">'
        "<meta name=author content=Ann><h2>Days</h2>25"
    )
    assert list(read_file(tmp_path / "a.html")) == [
        Part(
            "## Days\n\n25",
            heading=("Leave",),
            metadata={"lang": "en", "description": "How many days", "author": "Ann"},
        )
    ]
