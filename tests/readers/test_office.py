"""Word, PowerPoint, EPUB and OpenDocument: all their words, as Markdown, with their places."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
from office_files import ODP, ODT, WORD, docx, docx_of, epub, odf, pptx, run, zipped

from reasonembed_rag.errors import InputError
from reasonembed_readers import read_file

pytestmark = pytest.mark.skipif(not all(find_spec(name) for name in ("docx", "pptx")), reason="needs the extra files")


def _read(path: Path, content: bytes):
    path.write_bytes(content)
    notes: list[str] = []
    return list(read_file(path, on_note=notes.append)), notes


def test_a_word_document_is_markdown(tmp_path):
    def build(document):
        document.core_properties.title, document.core_properties.author = "T", "Ann"
        document.add_heading("Cats", 1)
        document.add_paragraph("They sleep.")
        document.add_heading("Food", 2)
        document.add_paragraph("fish", style="List Bullet")
        document.add_paragraph("mice", style="List Number")
        table = document.add_table(2, 2)
        for cell, text in zip(table._cells, ["Name", "Age", "Ann|e", "3"], strict=True):
            cell.text = text
        document.add_paragraph("After.").add_run("\tTab")

    parts, notes = _read(tmp_path / "a.docx", docx(build))
    table = "| Name | Age |\n| --- | --- |\n| Ann\\|e | 3 |"
    assert [part.text for part in parts] == [
        f"# Cats\n\nThey sleep.\n\n## Food\n\n- fish\n\n- mice\n\n{table}\n\nAfter.\tTab"
    ]
    assert parts[0].metadata == {"title": "T", "author": "Ann"}
    assert notes == []


def test_headings_stand_below_the_title_of_a_word_document(tmp_path):
    def build(document):
        document.add_heading("Report", 0)
        document.add_heading("One", 1)

    assert _read(tmp_path / "a.docx", docx(build))[0][0].text == "# Report\n\n## One"


BODIES = {
    "a content control": (f"<w:sdt><w:sdtContent><w:p>{run('x')}</w:p></w:sdtContent></w:sdt>", "x"),
    "a tracked insertion": (f"<w:p><w:ins>{run('x')}</w:ins><w:del>{run('y')}</w:del></w:p>", "x"),
    "a hyperlink": (f"<w:p>{run('a ')}<w:hyperlink>{run('b')}</w:hyperlink></w:p>", "a b"),
    "a text box": (
        f"<w:p>{run('a')}<w:r><w:pict><w:txbxContent><w:p>{run('b')}</w:p></w:txbxContent></w:pict></w:r></w:p>",
        "a\n\nb",
    ),
    "a table for the layout": (f"<w:tbl><w:tr><w:tc><w:p>{run('x')}</w:p></w:tc></w:tr></w:tbl>", "x"),
    "an outline level": (f'<w:p><w:pPr><w:outlineLvl w:val="2"/></w:pPr>{run("x")}</w:p>', "### x"),
    "a footnote": (f'<w:p>{run("x")}<w:r><w:footnoteReference w:id="2"/></w:r></w:p>', "x\n\n(Footnote: below)"),
}


@pytest.mark.parametrize("name", BODIES)
def test_the_words_of_a_word_document_are_found_in(tmp_path, name):
    body, text = BODIES[name]
    note = f'<w:footnotes {WORD}><w:footnote w:id="2"><w:p>{run("below")}</w:p></w:footnote></w:footnotes>'
    parts, _ = _read(tmp_path / "a.docx", docx_of(body, **{"word/footnotes.xml": note}))
    assert [part.text for part in parts] == [text]


def test_a_slide_is_a_part_under_its_title_with_its_notes(tmp_path):
    def build(presentation):
        slide = presentation.slides.add_slide(presentation.slide_layouts[1])
        slide.shapes.title.text = "Cats"
        frame = slide.placeholders[1].text_frame
        frame.text = "sleep"
        frame.add_paragraph().text = "eat"
        frame.paragraphs[1].level = 1
        slide.notes_slide.notes_text_frame.text = "Say it slowly."
        second = presentation.slides.add_slide(presentation.slide_layouts[6])
        table = second.shapes.add_table(2, 2, 0, 0, 100, 100).table
        for cell, text in zip(table.iter_cells(), "abcd", strict=True):
            cell.text = text
        group = second.shapes.add_group_shape()
        group.shapes.add_textbox(0, 0, 10, 10).text_frame.text = "in a group"
        presentation.slides.add_slide(presentation.slide_layouts[6])
        presentation.slides.add_slide(presentation.slide_layouts[5]).shapes.title.text = "Questions?"

    parts, notes = _read(tmp_path / "a.pptx", pptx(build))
    assert [(part.page, part.heading, part.text) for part in parts] == [
        (1, ("Cats",), "- sleep\n  - eat\n\nNotes: Say it slowly."),
        (2, (), "| a | b |\n| --- | --- |\n| c | d |\n\nin a group"),
        (4, (), "Questions?"),
    ]
    assert ["1 slides" in note and "OCR" in note for note in notes] == [True]


def test_the_chapters_of_a_book_are_parts_in_the_order_of_its_spine(tmp_path):
    parts, _ = _read(tmp_path / "a.epub", epub())
    assert [" ".join(part.text.split()) for part in parts] == ["Cats sleep.", "Björn reads."]
    assert [part.heading for part in parts] == [("On Cats",), ("On Cats", "Second")]
    assert parts[0].metadata == {"title": "On Cats", "author": "Ann"}


def test_a_book_with_protection_is_refused(tmp_path):
    protected = '<encryption xmlns:e="urn:e"><e:CipherReference URI="OEBPS/one.xhtml"/></encryption>'
    with pytest.raises(InputError, match=r"a\.epub.*DRM"):
        _read(tmp_path / "a.epub", epub(**{"META-INF/encryption.xml": protected}))
    fonts = protected.replace("OEBPS/one.xhtml", "OEBPS/font.ttf")
    assert len(_read(tmp_path / "b.epub", epub(**{"META-INF/encryption.xml": fonts}))[0]) == 2


def test_an_open_document_is_markdown(tmp_path):
    parts, _ = _read(tmp_path / "a.odt", zipped(odf(ODT)))
    assert [part.text for part in parts] == [
        "## Cats\n\nThey  sleep, yes.\n\n(Footnote: All day.)\n\n- fish\n\n  - raw\n\n| a | b |\n| --- | --- |"
    ]
    assert parts[0].metadata == {"title": "T", "author": "Ann"}


def test_an_open_presentation_is_read_slide_by_slide(tmp_path):
    parts, _ = _read(tmp_path / "a.odp", zipped(odf(ODP, "presentation")))
    assert [(part.page, part.text) for part in parts] == [(1, "One"), (2, "Two\n\nNotes: slowly")]


def test_an_open_document_with_a_password_is_refused(tmp_path):
    members = {**odf(ODT), "META-INF/manifest.xml": "<m><encryption-data/></m>"}
    with pytest.raises(InputError, match=r"a\.odt.*password"):
        _read(tmp_path / "a.odt", zipped(members))
