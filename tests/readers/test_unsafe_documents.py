"""Documents that are damaged, made to harm or named for what they are not."""

from __future__ import annotations

import struct
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from office_files import ODT, PACKAGE, WORD, docx, epub, pdf, replaced, run, sound, zipped

from reasonembed_rag.errors import InputError
from reasonembed_readers import FileKind, PassedOver, file_kind, kinds, read_file

pytestmark = pytest.mark.skipif(
    not all(find_spec(name) for name in ("pypdf", "docx", "pptx")), reason="needs the extra files"
)


def _read(path: Path, content: bytes):
    path.write_bytes(content)
    notes: list[str] = []
    kind = file_kind(path)
    assert isinstance(kind, FileKind)
    return list(read_file(path, on_note=notes.append)), notes


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'
OUTSIDE = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
DOCUMENTS = {
    "a.docx": ("word/document.xml", f"<w:document {WORD}><w:body><w:p>{run('&a;')}</w:p></w:body></w:document>"),
    "a.pptx": ("ppt/presentation.xml", "<p>&a;</p>"),
    "a.epub": ("OEBPS/book.opf", PACKAGE.replace("On Cats", "&a;")),
    "a.odt": ("content.xml", ODT.replace("fish", "&a;")),
}


@pytest.mark.parametrize("name", DOCUMENTS)
@pytest.mark.parametrize("declared", [BOMB, OUTSIDE, BOMB.encode("utf-16")], ids=["growing", "outside", "utf-16"])
def test_xml_entities_are_refused(tmp_path, name, declared):
    member, text = DOCUMENTS[name]
    content = declared + text if isinstance(declared, str) else declared + text.encode("utf-16")[2:]
    with pytest.raises(InputError, match=f"{name}.*entit"):
        _read(tmp_path / name, replaced(sound(name), {member: content}))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_an_archive_that_fills_memory_is_refused(tmp_path, name):
    member, _ = DOCUMENTS[name]
    with pytest.raises(InputError, match=f"{name}.*MiB"):
        _read(tmp_path / name, replaced(sound(name), {member: bytes(80 << 20)}))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_an_archive_with_a_password_is_refused(tmp_path, name):
    archive = bytearray(sound(name))
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = -1
        while (at := archive.find(signature, at + 1)) >= 0:
            archive[at + place] |= 1
    with pytest.raises(InputError, match=f"{name}.*protected"):
        _read(tmp_path / name, bytes(archive))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_member_that_lies_about_its_size_is_refused(tmp_path, name):
    member, text = DOCUMENTS[name]
    content = text.replace("&a;", "x").encode() + b" " * 100_000
    archive = bytearray(replaced(sound(name), {member: content}))
    size = struct.pack("<I", len(content))
    for place in range(len(archive)):
        if archive[place : place + 4] == size:
            archive[place : place + 4] = struct.pack("<I", 100)
    with pytest.raises(InputError, match=name):
        _read(tmp_path / name, bytes(archive))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_xml_that_is_nested_too_deep_is_refused_or_read(tmp_path, name):
    member, _ = DOCUMENTS[name]
    with pytest.raises(InputError, match=name):
        _read(tmp_path / name, replaced(sound(name), {member: "<a>" * 5000 + "</a>" * 5000}))


@pytest.mark.parametrize("name", [*DOCUMENTS, "a.pdf"])
def test_a_damaged_document_is_refused_by_name(tmp_path, name):
    whole = pdf("x") if name == "a.pdf" else sound(name)
    for content in (whole[:100], whole[: len(whole) // 2], b"PK\x03\x04", b"not a document at all"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=name):
            list(read_file(tmp_path / name))


@pytest.mark.parametrize("name", [*DOCUMENTS, "a.pdf", "a.odp"])
def test_an_empty_document_has_no_parts_and_is_told(tmp_path, name):
    parts, notes = _read(tmp_path / name, b"")
    assert parts == []
    assert ["empty" in note for note in notes] == [True]


def test_the_content_of_a_document_counts_for_more_than_its_name(tmp_path):
    (tmp_path / "page.pdf").write_bytes(b"<!DOCTYPE html><p>Sign in")
    (tmp_path / "report.docx").write_bytes(pdf("x"))
    (tmp_path / "report").write_bytes(docx())
    (tmp_path / "old.doc").write_bytes(docx())
    (tmp_path / "slides.docx").write_bytes(sound("a.pptx"))
    (tmp_path / "Bücher.bin").write_bytes(epub())
    assert {path.name: file_kind(path).name for path in tmp_path.iterdir()} == {
        "page.pdf": "HTML",
        "report.docx": "PDF",
        "report": "Word",
        "old.doc": "Word",
        "slides.docx": "PowerPoint",
        "Bücher.bin": "EPUB",
    }


PASSED_OVER = {
    "archive.docx": (zipped({"a.txt": "x"}), "archive"),
    "picture.pdf": (b"\x89PNG\r\n", "image"),
    "locked.docx": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "password"),
    "old.doc": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", ".docx"),
    "old.ppt": (b"", ".pptx"),
    "macros.docm": (b"", ".docx"),
    "table.xlsx": (b"", ".csv"),
    "table.docx": (zipped({"xl/workbook.xml": "x"}), ".csv"),
    "book.mobi": (b"", ".epub"),
    "mail.pst": (b"", ".eml"),
}


@pytest.mark.parametrize("name", PASSED_OVER)
def test_what_is_no_readable_document_is_passed_over_with_the_cure(tmp_path, name):
    content, word = PASSED_OVER[name]
    (tmp_path / name).write_bytes(content)
    kind = file_kind(tmp_path / name)
    assert isinstance(kind, PassedOver)
    assert word in kind.reason


@pytest.mark.parametrize("name", ["a.pdf", "a.docx", "a.pptx"])
def test_without_the_package_documents_are_passed_over_with_the_extra(tmp_path, monkeypatch, name):
    (tmp_path / name).write_bytes(pdf("x") if name == "a.pdf" else sound(name))
    monkeypatch.setattr(kinds, "find_spec", lambda _: None)
    kind = file_kind(tmp_path / name)
    assert isinstance(kind, PassedOver)
    assert "reasonembed-rag[files]" in kind.reason


@pytest.mark.parametrize("name", [*DOCUMENTS, "a.pdf"])
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_a_document_with_any_byte_changed_is_read_or_refused(tmp_path, name, data):
    content = bytearray(pdf("Cats sleep.", "x") if name == "a.pdf" else sound(name))
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=20)):
        content[place] = data.draw(st.integers(0, 255))
    (tmp_path / name).write_bytes(content)
    try:
        list(read_file(tmp_path / name))
    except InputError as error:
        assert name in str(error)  # noqa: PT017
