"""Manual pages and Info: their words without the marks of their formats."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasonembed_readers import file_kind, read_file
from reasonembed_readers.roff import unescaped

PAGE = r""".\" A comment
.de XX
hidden
..
.TH CAT 1 "2026-01-01" "" "Commands"
.SH NAME
cat \- sleep on a \fBmat\fP
.SH
SYNOPSIS
.B cat
[\fIoption\fR ...]
.SS "Its options"
.TP
.BR \-a , " \-\-all"
Sleep \(lqall\(rq day.
.IP \(bu 2
A bullet.
.PP
See
.BR dog (1).
.nf
$ cat  x
  y
.fi
.if n for terminals
.if t for printers
"""
MDOC = r""".Dd May 1, 2026
.Dt CAT 1
.Os
.Sh NAME
.Nm cat
.Nd sleep on a mat
.Sh SYNOPSIS
.Nm
.Op Fl a Ar file
.Sh DESCRIPTION
.Nm
sleeps, see
.Xr dog 1 .
.Bl -tag
.It Fl b
Bare.
.El
"""


def _read(path, text):
    path.write_bytes(gzip.compress(text.encode()))
    notes = []
    return list(read_file(path, on_note=notes.append)), notes


def test_a_manual_page_is_markdown_under_its_name(tmp_path):
    parts, notes = _read(tmp_path / "cat.1.gz", PAGE)
    assert file_kind(tmp_path / "cat.1.gz").name == "manual page"
    assert parts[0].heading == ("CAT(1)",)
    assert parts[0].text == (
        "# NAME\n\ncat - sleep on a mat\n\n# SYNOPSIS\n\ncat [option ...]\n\n## Its options\n\n"
        "-a, --all\nSleep \N{LEFT DOUBLE QUOTATION MARK}all\N{RIGHT DOUBLE QUOTATION MARK} day.\n\n- A bullet.\n\n"
        "See dog(1).\n\n```\n$ cat  x\n  y\n```\n\nfor terminals"
    )
    assert notes == []


def test_a_page_of_mdoc_is_read_without_its_macros(tmp_path):
    parts, _ = _read(tmp_path / "cat.1.gz", MDOC)
    assert parts[0].text == (
        "# NAME\n\ncat - sleep on a mat\n\n# SYNOPSIS\n\ncat -a file\n\n"
        "# DESCRIPTION\n\ncat sleeps, see dog(1).\n\n-b\nBare."
    )


def test_a_page_that_points_to_another_is_told(tmp_path):
    parts, notes = _read(tmp_path / "kitten.1.gz", ".so man1/cat.1\n")
    assert parts == []
    assert ["kitten.1.gz" in note for note in notes] == [True]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (r"a\-b \fIc\f[R] \f(CWd\fP", "a-b c d"),
        (r"\s-1NAME\s0 \*(Aqx\*(Aq", "NAME 'x'"),
        (r"C:\e\\x \[u20AC] \(co", "C:\\\\x \u20ac ©"),
        (r"end \" comment", "end "),
        (r"\h'-04'\(bu\h'+03'\c", "•"),
    ],
)
def test_escapes_of_roff_are_text(line, text):
    assert unescaped(line) == text


@given(
    st.lists(st.sampled_from([*PAGE.split("\n"), *MDOC.split("\n"), ".TS", ".TE", "T{\ta", "\\", ".\\}", ".nf", "'"]))
)
def test_any_page_is_read(tmp_path_factory, lines):
    path = tmp_path_factory.mktemp("pages") / "cat.1.gz"
    for part in _read(path, "\n".join([".TH CAT 1", *lines]))[0]:
        assert part.text.count("```") % 2 == 0


INFO = """This is cats.info, produced by makeinfo version 6.7 from cats.texi.

\x1f
File: cats.info,  Node: Top,  Next: Sleep,  Up: (dir)

Cats
****

* Menu:

* Sleep::    How they sleep.

\x1f
File: cats.info,  Node: Sleep,  Prev: Top,  Up: Top

1 Sleep
*******

They sleep.
\x00\x08[image src="a.png"\x00\x08]

* Menu:

* Day::

\x1f
File: cats.info,  Node: Day,  Up: Sleep

1.1 By day
==========

All day.
\x1f
Tag Table:
Node: Top\x7f80
\x1f
End Tag Table
"""


def test_the_nodes_of_info_are_parts_under_those_above_them_without_menus(tmp_path):
    parts, _ = _read(tmp_path / "cats.info.gz", INFO)
    assert file_kind(tmp_path / "cats.info.gz").name == "Info"
    assert [(part.heading, part.text) for part in parts] == [
        (("Cats", "1 Sleep"), "They sleep."),
        (("Cats", "1 Sleep", "1.1 By day"), "All day."),
    ]
    lines = INFO.split("\n")
    assert [lines[part.line - 1] for part in parts] == ["They sleep.", "All day."]
