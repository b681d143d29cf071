"""Text files: their encodings and what they say of themselves."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasonembed_rag.errors import InputError
from reasonembed_readers import Part, ReadOptions, read_file

RUSSIAN = "Кошки спят днём, а киты поют ночью.\n"  # noqa: RUF001 - it is Russian


def read(path, content, **options):
    """Return the text of a file and what was told of it."""
    path.write_bytes(content)
    notes: list[str] = []
    (part,) = read_file(path, options=ReadOptions(**options), on_note=notes.append)
    assert all(str(path) in note for note in notes)
    return part.text, " ".join(notes)


@pytest.mark.parametrize(
    ("encoding", "told"),
    [
        ("utf-8", ""),
        ("utf-8-sig", ""),
        ("utf-16", "UTF-16"),
        ("utf-32", "UTF-32"),
        ("utf-16-le", "utf-16-le (guessed)"),
        ("utf-16-be", "utf-16-be (guessed)"),
        ("cp1252", "cp1252 (guessed)"),
    ],
)
def test_western_text_is_read_in_its_encoding_and_the_others_are_told(tmp_path, encoding, told):
    text = "Käse für Björn · crème brûlée, “naïve” piñata.\nSecond line.\n"
    found, notes = read(tmp_path / "a.txt", text.encode(encoding))
    assert found == text
    assert told in notes
    assert bool(told) == bool(notes)


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1251", RUSSIAN),
        ("koi8-r", RUSSIAN),
        ("shift_jis", "日本語のテキストです。猫は眠る。\n"),
        ("euc_jp", "日本語のテキストです。猫は眠る。\n"),
        ("gb18030", "这是一个中文文本,猫在睡觉。\n"),
        ("big5", "這是一個中文文本,貓在睡覺。\n"),
        ("euc_kr", "이것은 한국어 텍스트입니다. 고양이가 잔다.\n"),
        ("iso8859-2", "Příliš žluťoučký kůň úpěl ďábelské ódy, Dušan věří.\n"),
        ("cp1254", "Kediler gündüz uyur, balinalar gece şarkı söyler.\n"),  # noqa: RUF001 - Turkish
        ("cp1252", "Kettir sofa á daginn og hvalir syngja á nóttunni, það þykir mér.\n"),
        ("cp1250", "Az őrült macskák nappal fűben, a bálnák éjjel vízben énekelnek, ő is.\n"),
        ("cp1253", "Αυτό είναι ένα ελληνικό κείμενο.\n"),
        ("cp1250", "Příliš žluťoučký kůň úpěl ďábelské ódy.\n"),
    ],
)
def test_other_encodings_are_guessed_and_told(tmp_path, encoding, text):
    found, notes = read(tmp_path / "a.txt", text.encode(encoding) * 3)
    assert found == text * 3
    assert "(guessed)" in notes


def test_a_file_of_several_encodings_keeps_its_utf8(tmp_path):
    lines = ["Björn wrote this.", "So did André.", "And Zoë."]
    content = "\n".join(lines).encode() + b"\n" + "Jürgen did not.\n".encode("latin-1")
    found, notes = read(tmp_path / "AUTHORS", content)
    assert found == "\n".join([*lines, "Jürgen did not.\n"])
    assert "1 lines of it as cp1252 (guessed)" in notes


def test_an_encoding_that_the_user_names_is_taken_and_marks_and_declarations_come_first(tmp_path):
    assert read(tmp_path / "a.txt", "Ångström".encode("cp850"), encoding="cp850") == ("Ångström", "")
    assert read(tmp_path / "a.txt", "Ångström".encode("utf-16"), encoding="cp850")[0] == "Ångström"
    page = f'<meta charset="koi8-r"><p>{RUSSIAN}'.encode("koi8-r")
    assert read(tmp_path / "a.html", page, encoding="cp850")[0] == RUSSIAN.strip()
    with pytest.raises(InputError, match=r"a\.txt:2: not ASCII"):
        read(tmp_path / "a.txt", "one\nÅ".encode(), encoding="ascii")
    with pytest.raises(InputError, match="'klingon'"):
        ReadOptions(encoding="klingon")


@pytest.mark.parametrize(
    "declaration",
    [
        "<meta charset=windows-1251>",
        '<META http-equiv="Content-Type" content="text/html; charset=WINDOWS-1251">',
        '<?xml version="1.0" encoding="windows-1251"?>',
    ],
)
def test_pages_are_read_in_the_encoding_that_they_declare(tmp_path, declaration):
    found, notes = read(tmp_path / "a.html", f"{declaration}<p>{RUSSIAN}".encode("cp1251"))
    assert found == RUSSIAN.strip()
    assert "cp1251 (declared)" in notes


@pytest.mark.parametrize(
    ("name", "declaration"),
    [
        ("a.xml", '<?xml version="1.0" encoding="koi8-r"?>'),
        ("ru.po", 'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=KOI8-R\\n"\n'),
        ("a.tex", "\\usepackage[koi8-r]{inputenc}\n"),
        ("NEWS", "-*- coding: koi8-r -*-\n"),
    ],
)
def test_text_is_read_in_the_encoding_that_it_declares(tmp_path, name, declaration):
    found, notes = read(tmp_path / name, f"{declaration}Ёж.".encode("koi8-r"))
    assert found == f"{declaration}Ёж."
    assert "koi8-r (declared)" in notes
    assert read(tmp_path / name, f"{declaration}Ёж.".encode()) == (f"{declaration}Ёж.", "")


@pytest.mark.parametrize("declared", ["iso-8859-1", "windows-1252", "us-ascii", "utf-16", "unknown", "hex"])
def test_a_page_that_is_utf8_whatever_it_declares_is_read_as_utf8(tmp_path, declared):
    assert (
        read(tmp_path / "a.html", f"<meta charset={declared}><p>Käse · {RUSSIAN}".encode())[0]
        == f"Käse · {RUSSIAN}".strip()
    )


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (b"one\ntwo\0three\n", ":2: .*NUL"),
        (b"\xff\xfeo\0n\0e", ":1: not UTF-16"),  # UTF-16 that ends within a character
        (bytes(range(1, 256)) * 20, ": .*not text"),
    ],
)
def test_what_is_not_text_is_named(tmp_path, content, place):
    with pytest.raises(InputError, match=rf"a\.md{place}"):
        read(tmp_path / "a.md", content)


@pytest.mark.parametrize(
    ("name", "text", "outline"),
    [
        ("README", "# Title\n\nText.\n\n# Other\n", True),
        ("README", "# Title\n\n```\n# one\n# two\n```\n", True),
        ("README", "# Title\n## Part\n", True),
        ("Makefile", "# This builds\n# all of it.\nall:\n", False),
        ("notes.txt", "x\n# one\n# two\n", False),
        ("a.yaml", "# Ports\nport: 80\n", False),
        ("a.py", "# Ports\nport = 80\n", False),
        ("a.json", '{"a": "# b"}', False),
        ("a.csv", "name\n# b\n", False),
    ],
)
def test_comments_are_no_headings(tmp_path, name, text, outline):
    (tmp_path / name).write_text(text)
    assert [part.outline for part in read_file(tmp_path / name)] == [outline]


def test_colours_and_struck_over_letters_are_not_text(tmp_path):
    assert read(tmp_path / "a.log", b"\x1b[1;31mERROR\x1b[0m no space\n") == ("ERROR no space\n", "")
    assert read(tmp_path / "ls", b"N\bNA\bAM\bME\bE\n_\bls\n") == ("NAME\nls\n", "")


def test_line_ends_are_those_of_unix(tmp_path):
    assert read(tmp_path / "a.txt", b"one\r\ntwo\rthree\n") == ("one\ntwo\nthree\n", "")


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0\r\b\x1b\ufeff"), max_size=200))
def test_utf8_is_read_as_it_was_written(tmp_path_factory, text):
    assert read(tmp_path_factory.mktemp("text") / "a.txt", text.encode()) == (text, "")


@given(st.binary(max_size=300))
def test_any_bytes_are_text_or_a_clear_error(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("bytes") / "a.txt"
    try:
        text, _ = read(path, content)
    except InputError as error:
        assert str(path) in str(error)  # noqa: PT017 - either is right
    else:
        text.encode()


def test_a_page_that_scripts_make_is_told(tmp_path):
    assert read(tmp_path / "a.html", b"<div id=root></div><script>draw()</script>")[0] == ""
    assert "no text" in read(tmp_path / "a.html", b"<div id=root></div><script>draw()</script>")[1]
    assert read(tmp_path / "a.html", b" \n") == ("", "")


def test_front_matter_is_the_title_and_the_metadata(tmp_path):
    (tmp_path / "a.md").write_text("---\ntitle: Key rotation\ntags: [security, ops]\nweight: .nan\n---\n\nRotate it.\n")
    assert list(read_file(tmp_path / "a.md")) == [
        Part("\nRotate it.\n", heading=("Key rotation",), metadata={"tags": "security, ops", "weight": "nan"}, line=6)
    ]
    (tmp_path / "a.html").write_text("---\nlayout: page\ntitle: Keys\n---\n<p>Rotate it.")
    assert list(read_file(tmp_path / "a.html")) == [Part("Rotate it.", heading=("Keys",), metadata={"layout": "page"})]
    (tmp_path / "a.md").write_text("---\ntitle: Keys\n---\n")
    assert list(read_file(tmp_path / "a.md")) == [Part("Keys", line=1)]
    (tmp_path / "a.md").write_text(f"---\nname: {json.dumps(chr(0xD83D))}\n---\n")
    with pytest.raises(InputError, match=r"a\.md: 'name'"):
        list(read_file(tmp_path / "a.md"))
