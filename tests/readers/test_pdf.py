"""PDF: its pages with their numbers, words whole; what has no text or is damaged is told."""

from __future__ import annotations

import gzip
from importlib.util import find_spec
from pathlib import Path

import pytest
from office_files import pdf

from reasonembed_rag.errors import InputError
from reasonembed_readers import read_file
from reasonembed_readers.pdf_pages import mended

pytestmark = pytest.mark.skipif(find_spec("pypdf") is None, reason="needs the extra files")


def _read(path: Path, content: bytes):
    path.write_bytes(content)
    notes: list[str] = []
    return list(read_file(path, on_note=notes.append)), notes


def test_a_page_of_a_pdf_is_a_part_with_its_number(tmp_path):
    parts, notes = _read(tmp_path / "a.pdf", pdf("Cats sleep.", "Björn reads.", title="On Cats"))
    assert [(part.text, part.page) for part in parts] == [("Cats sleep.", 1), ("Björn reads.", 2)]
    assert [part.heading for part in parts] == [("On Cats",), ("On Cats",)]
    assert parts[0].metadata == {"title": "On Cats", "author": "Ann"}
    assert notes == []


@pytest.mark.parametrize("title", ["Microsoft Word - report.doc", "untitled", "a.tex", "---"])
def test_a_title_that_a_program_made_is_no_heading(tmp_path, title):
    assert _read(tmp_path / "a.pdf", pdf("x", title=title))[0][0].heading == ()


def test_bookmarks_are_headings_of_the_pages_that_they_hold_for_as_a_whole(tmp_path):
    made = pdf("0", "1", "2", "3", "4", bookmarks=((2, "Cats", ""), (3, "Sleep", "Cats"), (5, "Dogs", "")))
    assert [part.heading for part in _read(tmp_path / "a.pdf", made)[0]] == [(), (), ("Cats",), ("Cats", "Sleep"), ()]


def test_pages_without_text_are_counted_with_the_cure(tmp_path):
    parts, notes = _read(tmp_path / "a.pdf", pdf("", "x", ""))
    assert [part.page for part in parts] == [2]
    assert ["2 of 3" in note and "OCR" in note and str(tmp_path) in note for note in notes] == [True]


def test_a_pdf_with_a_password_is_refused_and_one_that_is_only_locked_is_read(tmp_path):
    with pytest.raises(InputError, match=r"a\.pdf.*password"):
        _read(tmp_path / "a.pdf", pdf("x", password="secret"))
    assert _read(tmp_path / "b.pdf", pdf("x", password=""))[0][0].text == "x"


@pytest.mark.parametrize("length", [8, 200, 400])
def test_a_pdf_that_was_cut_short_is_refused_by_name_or_read(tmp_path, length):
    with pytest.raises(InputError, match=r"a\.pdf"):
        _read(tmp_path / "a.pdf", pdf("x")[:length])


def test_a_pdf_that_pypdf_repairs_is_read_without_a_word(tmp_path, caplog, capfd):
    parts, _ = _read(tmp_path / "a.pdf", pdf("x").replace(b"startxref\n", b"startxref\n1"))
    assert [part.text for part in parts] == ["x"]
    assert (caplog.text, *capfd.readouterr()) == ("", "", "")


def test_a_pdf_with_one_damaged_page_is_read_but_for_it(tmp_path, monkeypatch):
    from pypdf import PageObject

    extract = PageObject.extract_text

    def damaged(page):
        if page.page_number == 1:
            raise KeyError("/Font")
        return extract(page)

    monkeypatch.setattr(PageObject, "extract_text", damaged)
    parts, notes = _read(tmp_path / "a.pdf", pdf("a", "b", "c"))
    assert [part.text for part in parts] == ["a", "c"]
    assert ["page 2" in note for note in notes] == [True]


def test_a_packed_pdf_is_read(tmp_path):
    assert _read(tmp_path / "a.pdf.gz", gzip.compress(pdf("x")))[0][0].text == "x"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("inter-\nnational law", "international law"),
        ("inter- \n  national", "international"),
        ("state-of-\nthe-art", "state-of-the-art"),
        ("New-\nYork", "New-York"),
        ("pages 3-\n5", "pages 3-\n5"),
        ("a --\nb", "a --\nb"),
        ("soft\xad\nened", "softened"),
        ("e\ufb03cient \ufb02ow", "efficient flow"),
        ("a  \nb\0", "a\nb"),
        ("\ud83d\ude00 \ud800", "\U0001f600 \ufffd"),
    ],
)
def test_words_are_whole(text, wanted):
    assert mended(text) == wanted
