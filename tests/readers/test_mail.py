"""E-mail: a part per message, its words as they were written, attachments read or told."""

from __future__ import annotations

from contextlib import suppress
from email import message_from_bytes
from email.message import EmailMessage

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasonembed_rag.errors import InputError
from reasonembed_readers import file_kind, read_file

WORDS = "Cats sleep all day: 5 € for señor Björn weiß es.\n"
HEADERS = {
    "Subject": "Über cats",
    "From": "Ann Björk <ann@example.org>",
    "To": "bob@example.org",
    "Date": "Fri, 08 Jul 2011 12:08:34 +0200",
    "Message-ID": "<1@example.org>",
}


def _message(body: str = WORDS, **settings_of_content) -> EmailMessage:
    message = EmailMessage()
    for name, value in HEADERS.items():
        message[name] = value
    message.set_content(body, **settings_of_content)
    return message


def _read(path, content):
    path.write_bytes(content.as_bytes() if isinstance(content, EmailMessage) else content)
    notes = []
    return list(read_file(path, on_note=notes.append)), notes


@pytest.mark.parametrize("encoding", ["base64", "quoted-printable", "8bit"])
@pytest.mark.parametrize("charset", ["utf-8", "windows-1252"])
def test_a_message_is_one_part_with_its_headers(tmp_path, encoding, charset):
    parts, notes = _read(tmp_path / "a.eml", _message(charset=charset, cte=encoding))
    assert [part.text for part in parts] == [WORDS.strip()]
    assert parts[0].heading == ("Über cats",)
    assert parts[0].metadata == {
        "subject": "Über cats",
        "from": "Ann Björk <ann@example.org>",
        "to": "bob@example.org",
        "date": "2011-07-08T12:08:34+02:00",
        "message_id": "<1@example.org>",
    }
    assert notes == []


@pytest.mark.parametrize("is_first", [True, False])
def test_of_two_forms_the_plain_one_is_read(tmp_path, is_first):
    message = _message()
    message.add_alternative("<p>In <b>HTML</b>", subtype="html")
    if not is_first:
        message.get_payload().reverse()
    parts, _ = _read(tmp_path / "a.eml", message)
    assert [part.text for part in parts] == [WORDS.strip()]


@pytest.mark.parametrize("plain", [None, " \n"])
def test_a_body_of_html_only_is_read_as_text(tmp_path, plain):
    page = "<style>p {}</style><p>One</p><p>zwei: größer</p>"
    message = _message(page, subtype="html", charset="utf-8")
    if plain is not None:
        message = _message(plain)
        message.add_alternative(page, subtype="html")
    parts, _ = _read(tmp_path / "a.eml", message)
    assert [part.text for part in parts] == ["One\n\nzwei: größer"]


def test_attached_texts_are_parts_and_other_attachments_are_told(tmp_path):
    message = _message()
    message.add_attachment("a,b\n1,2\n", subtype="csv", filename="tablé.csv")
    message.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="report.PDF")
    message.add_attachment(b"GIF8", maintype="image", subtype="gif", filename="x.gif")
    parts, notes = _read(tmp_path / "a.eml", message)
    assert [part.text for part in parts] == [WORDS.strip(), "a,b\n1,2"]
    assert parts[0].metadata["attachments"] == "tablé.csv, report.PDF, x.gif"
    assert parts[1].heading == ("Über cats", "tablé.csv")
    assert parts[1].metadata["attachment"] == "tablé.csv"
    assert [str(tmp_path) in note for note in notes] == [True]


def test_a_forwarded_message_is_read_with_its_headers(tmp_path):
    outer = _message("See below.\n")
    outer.add_attachment(_message("Inner words.\n"))
    parts, _ = _read(tmp_path / "a.eml", outer)
    assert len(parts) == 1
    assert "Subject: Über cats\nFrom: Ann Björk <ann@example.org>" in parts[0].text
    assert parts[0].text.endswith("Inner words.")


def test_a_message_without_a_body_is_its_subject(tmp_path):
    parts, _ = _read(tmp_path / "a.eml", _message(""))
    assert [(part.text, part.heading) for part in parts] == [("Über cats", ())]


BROKEN = {
    "unknown charset": (b"Subject: x\nContent-Type: text/plain; charset=nobody-knows\n\nB\xc3\xb6rn\n", "Börn"),
    "wrong charset": (b"Subject: x\nContent-Type: text/plain; charset=us-ascii\n\nB\xf6rn\n", "Börn"),
    "raw bytes": ("Subject: Bjö\n\nx\n".encode("latin-1"), "x"),
    "no end": (b"Subject: x\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nwords", "words"),
    "no boundary": (b"Subject: x\nContent-Type: multipart/mixed\n\nwords\n", "words"),
    "bad base64": (b"Subject: x\nContent-Transfer-Encoding: base64\n\nd29yZHM\n", "words"),
    "worse word": (b"Subject: =?x?b?abcde?=\n\nwords\n", "words"),
    "bad word": (b"Subject: =?utf-8?b?abc?= and\n\nwords\n", "words"),
    "bad date": (b"Subject: x\nDate: Fri, 99 Foo\n\nwords\n", "words"),
    "folded": (b"Subject: a\n b\nX: y\n\nwords\n", "words"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_message_is_read_as_far_as_it_goes(tmp_path, name):
    content, text = BROKEN[name]
    parts, _ = _read(tmp_path / "a.eml", content)
    assert [part.text for part in parts] == [text]
    assert all("\n" not in title for part in parts for title in part.heading)


def test_undeclared_bytes_in_headers_are_read_as_western(tmp_path):
    parts, _ = _read(tmp_path / "a.eml", "Subject: Björn\n\nx\n".encode("latin-1"))
    assert parts[0].heading == ("Björn",)


@pytest.mark.parametrize("content", [b"no headers at all\n\nx", b"\x00\x01\x02"])
def test_what_is_no_message_is_refused_by_name(tmp_path, content):
    with pytest.raises(InputError, match=r"a\.eml"):
        _read(tmp_path / "a.eml", content)


@pytest.mark.parametrize("name", ["a.eml", "a.mbox", "a.mht"])
def test_an_empty_file_has_no_parts(tmp_path, name):
    assert _read(tmp_path / name, b"") == ([], [])


def _mailbox(*bodies: str) -> bytes:
    made = []
    for body in bodies:
        quoted = body.replace("\nFrom ", "\n>From ").encode()
        made.append(
            b"From ann@example.org Fri Jul  8 12:08:34 2011\n" + _message("").as_bytes().rstrip() + b"\n\n" + quoted
        )
    return b"\n\n".join(made) + b"\n"


def test_the_messages_of_a_mailbox_are_parts_with_their_numbers(tmp_path):
    parts, _ = _read(tmp_path / "a.mbox", _mailbox("One.\n\nFrom here on.", "Two.", "Three.\nFrom 12:30 it rains."))
    assert [part.text for part in parts] == ["One.\n\nFrom here on.", "Two.", "Three.\nFrom 12:30 it rains."]
    assert [part.metadata["message"] for part in parts] == [1, 2, 3]


def test_a_line_of_a_message_that_begins_with_from_separates_none(tmp_path):
    box = _mailbox("One.") + b"And\nFrom 12:30 on it rains.\n"
    assert [part.text for part in _read(tmp_path / "a.mbox", box)[0]] == ["One.\nAnd\nFrom 12:30 on it rains."]


def test_a_report_on_delivery_is_read(tmp_path):
    content = (
        b"Subject: Returned\nContent-Type: multipart/report; boundary=b\n\n--b\n\nIt failed.\n"
        b"--b\nContent-Type: message/delivery-status\n\nStatus: 5.1.1\n\nFinal-Recipient: rfc822; x@y\n--b--\n"
    )
    parts, _ = _read(tmp_path / "a.eml", content)
    assert parts[0].text == "It failed.\n\nStatus: 5.1.1\nFinal-Recipient: rfc822; x@y"


def test_attachments_in_a_mailbox_are_told_once(tmp_path):
    message = _message()
    message.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="a.pdf")
    box = b"".join(b"From x Fri Jul  8 12:08:34 2011\n" + message.as_bytes() + b"\n" for _ in range(3))
    parts, notes = _read(tmp_path / "a.mbox", box)
    assert len(parts) == 3
    assert ["3 .pdf" in note for note in notes] == [True]


def test_mail_without_a_suffix_is_known_by_its_headers(tmp_path):
    _read(tmp_path / "1310119714.M1P2.host:2,S", _message())
    _read(tmp_path / "inbox", _mailbox("One.", "Two."))
    _read(tmp_path / "notes", b"From: the cat\nTo: the dog\n\nWords.\n")
    names = [file_kind(path).name for path in sorted(tmp_path.iterdir())]
    assert names == ["e-mail", "mailbox", "text"]


def test_a_message_of_apple_mail_ends_where_it_says(tmp_path):
    message = _message().as_bytes()
    parts, _ = _read(tmp_path / "1.emlx", b"%d   \n" % len(message) + message + b"<?xml version='1.0'?><plist></plist>")
    assert [part.text for part in parts] == [WORDS.strip()]


def test_a_web_archive_is_its_page(tmp_path):
    archive = _message("<p>The page", subtype="html")
    archive.make_mixed()
    archive.attach(message_from_bytes(b"Content-Type: text/css\nContent-Location: a.css\n\np {}\n"))
    archive.attach(message_from_bytes(b"Content-Type: image/png\nContent-Location: a.png\n\nx\n"))
    parts, notes = _read(tmp_path / "a.mht", archive)
    assert [part.text for part in parts] == ["The page"]
    assert notes == []


def test_the_name_of_an_attachment_may_be_in_any_encoding(tmp_path):
    content = b"Subject: x\nContent-Disposition: attachment; filename*=utf-7''+2D0-\nContent-Type: text/plain\n\ny\n"
    parts, _ = _read(tmp_path / "a.eml", content)
    assert parts[1].heading == ("x", "\ufffd")


PIECES = st.sampled_from(
    [
        *(
            b"Subject: ",
            b"From: ",
            b"Date: Fri, 08 Jul 2011",
            b"Content-Type: multipart/mixed; boundary=b",
            b"\n",
            b"\n\n",
        ),
        *(
            b"Content-Type: text/html; charset=",
            b"utf-8",
            b"utf-7",
            b"--b\n",
            b"--b--\n",
            b"=?utf-8?q?=C3?=",
            b"\xff",
            b"x",
        ),
        *(
            b"Content-Type: message/rfc822\n",
            b"Content-Transfer-Encoding: base64\n",
            b"filename*0*=utf-8''%FF",
            b"\0",
            b": ",
        ),
        *(
            b"Content-Transfer-Encoding: x-uuencode\n",
            b"begin 644 a\n",
            b"Content-Disposition: attachment;",
            b"hz",
            b"idna",
        ),
        *(
            b"Content-Type: multipart/alternative; boundary=b\n",
            b"=?x?b?",
            b"+2D0-",
            b"=?utf-7?q?+2D0-?=",
            b" ",
            b"From x 1:11\n",
            b"rot13",
        ),
    ]
)


@given(st.lists(PIECES, max_size=25).map(b"".join), st.sampled_from(["a.eml", "a.mbox"]))
@settings(max_examples=300)
def test_any_bytes_are_read_or_refused(tmp_path_factory, content, name):
    with suppress(InputError):
        parts, _ = _read(tmp_path_factory.mktemp("mail") / name, content)
        for part in parts:
            assert part.text.strip()
            "".join([part.text, *part.heading, *map(str, part.metadata.values())]).encode()


def test_half_a_character_in_an_old_encoding_is_replaced(tmp_path):
    content = b"Subject: =?utf-7?q?+2D0-?= x\nContent-Type: text/plain; charset=utf-7\n\n+2D0- y\n"
    parts, _ = _read(tmp_path / "a.eml", content)
    assert [(part.heading, part.text) for part in parts] == [(("\ufffd x",), "\ufffd y")]
