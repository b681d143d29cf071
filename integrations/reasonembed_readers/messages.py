"""The text of an e-mail message: its body, the texts attached to it, and who wrote it when."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_bytes
from email.errors import MessageError
from email.header import decode_header
from email.message import Message
from pathlib import PurePath
from typing import Any

from reasonembed_rag.errors import InputError
from reasonembed_readers.decoding import decoded
from reasonembed_readers.html_text import html_to_text
from reasonembed_readers.parts import Part, ReadOptions
from reasonembed_readers.surrogates import whole_characters

__all__ = ["Unread", "message_parts"]

_FIELDS = {"from": "From", "to": "To", "cc": "Cc", "date": "Date", "message_id": "Message-ID"}
_ENCODED_WORD = re.compile(r"=\?[^?\s]+\?[BbQq]\?[^?\s]*\?=")
_DEEPEST = 20
_OF_PAGES = {"text/css", "text/javascript", "text/ecmascript"}
"""Texts that pages are sent with, and that no reader of the message sees."""


@dataclass(slots=True)
class Unread:
    """What was attached and not read, by suffix or type."""

    kinds: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class _Text:
    """A text of a message: of its body, or attached under a name."""

    text: str
    name: str = ""


def message_parts(data: bytes, *, name: str, options: ReadOptions, unread: Unread) -> Iterator[Part]:
    """Yield the body of a message under its subject, then each text that is attached to it, under its name as well.

    Raises InputError for what has no headers.
    """
    if not data.strip():
        return
    message = message_from_bytes(data)
    if not message.keys():
        raise InputError(f"{name}: not a message: no headers; want From, Subject and the like before a blank line")
    texts = list(_Texts(name, options, unread).of(message, 0))
    subject = _header(message, "Subject")
    metadata = _metadata(message, subject)
    attached = [one for one in texts if one.name]
    if attached:
        metadata["attachments"] = ", ".join(one.name for one in attached)
    body = "\n\n".join(one.text for one in texts if not one.name)
    heading = (subject,) if subject else ()
    if body or subject:
        yield Part(body or subject, heading=heading if body else (), metadata=metadata)
    for one in attached:
        if one.text:
            yield Part(one.text, heading=(*heading, one.name), metadata={**metadata, "attachment": one.name})


def _metadata(message: Message, subject: str) -> dict[str, Any]:
    found = {key: _header(message, header) for key, header in _FIELDS.items()}
    found["date"] = _iso(found["date"])
    return {key: value for key, value in {"subject": subject, **found}.items() if value}


class _Texts:
    """Collect the texts of a message in order."""

    def __init__(self, name: str, options: ReadOptions, unread: Unread) -> None:
        self._name = name
        self._options = options
        self._unread = unread

    def of(self, part: Message, depth: int) -> Iterator[_Text]:
        """Yield the texts of a part and of those within it."""
        kind = part.get_content_type()
        if depth > _DEEPEST:
            self._unread.kinds["deeply nested"] += 1
        elif kind == "message/rfc822" and part.is_multipart():
            yield from self._forwarded(part, depth)
        elif kind == "multipart/alternative" and part.is_multipart():
            yield from self._alternative(part, depth)
        elif kind == "message/delivery-status":
            yield _Text(
                "\n".join(f"{key}: {_clean(str(value))}" for one in _inner(part) for key, value in one.raw_items())
            )
        elif part.is_multipart():
            for inner in _inner(part):
                yield from self.of(inner, depth + 1)
        else:
            yield from self._single(part, kind)

    def _forwarded(self, part: Message, depth: int) -> Iterator[_Text]:
        for inner in _inner(part):
            names = ("Subject", "From", "Date", "To")
            lines = [f"{name}: {value}" for name in names if (value := _header(inner, name))]
            yield _Text("\n".join(["Forwarded message", *lines]))
            yield from self.of(inner, depth + 1)

    def _alternative(self, part: Message, depth: int) -> Iterator[_Text]:
        """Yield one of several forms of a text: the plain one, unless it is empty."""
        forms = _inner(part)
        plain_first = sorted(forms, key=lambda form: form.get_content_type() != "text/plain")
        for form in plain_first:
            texts = [text for text in self.of(form, depth + 1) if text.text]
            if texts:
                yield from texts
                return

    def _single(self, part: Message, kind: str) -> Iterator[_Text]:
        attached = part.get_content_disposition() == "attachment"
        name = _clean(part.get_filename() or "")
        if kind in _OF_PAGES and not attached:
            return
        is_whole = part.get_content_maintype() == "multipart"  # one that never says where its parts begin
        if is_whole or part.get_content_maintype() == "text":
            yield _Text(self._text(part, kind), name or ("attachment" if attached else ""))
        elif part.get_content_maintype() != "image" or attached:
            self._unread.kinds[PurePath(name).suffix.lower() or kind] += 1
            if name:
                yield _Text("", name)

    def _text(self, part: Message, kind: str) -> str:
        payload = part.get_payload(decode=True)
        data = payload if isinstance(payload, bytes) else b""
        try:
            charset = part.get_content_charset()
            text = decoded(data, name=self._name, options=self._options, note=lambda _: None, declared=charset)
        except InputError:  # bytes that are called text
            self._unread.kinds["that are no text"] += 1
            return ""
        return (html_to_text(text) if kind in {"text/html", "application/xhtml+xml"} else text).strip()


def _inner(part: Message) -> list[Message]:
    payload = part.get_payload()
    return [one for one in payload if isinstance(one, Message)] if isinstance(payload, list) else []


def _header(message: Message, name: str) -> str:
    """Return the first header of a name on one line, its encoded words decoded as far as they can be."""
    value = next((str(value) for key, value in message.raw_items() if key.lower() == name.lower()), "")
    return _clean(value)


def _clean(text: str) -> str:
    """Return a header's text on one line; bytes that were not declared are UTF-8, or else Windows-1252."""
    try:
        data = text.encode("utf-8", errors="surrogateescape")
    except UnicodeEncodeError:  # halves of characters that are no bytes, from a parameter in an encoding such as UTF-7
        data = whole_characters(text).encode()
    text = whole_characters(_decoded_words(_text_of(data, "utf-8")))
    return re.sub(r"[\s\0]+", " ", text).strip()


def _decoded_words(text: str) -> str:
    """Return a text with its encoded words (RFC 2047) decoded; those that are broken stay."""
    if not text.isascii():
        return _ENCODED_WORD.sub(lambda found: _decoded_words(found.group()), text)
    try:
        pieces = decode_header(text)
    except (ValueError, MessageError):
        return text
    return "".join(
        piece if isinstance(piece, str) else _text_of(piece, charset or "utf-8") for piece, charset in pieces
    )


def _text_of(data: bytes, charset: str) -> str:
    for encoding in (charset, "utf-8"):
        try:
            return data.decode(encoding)
        except (UnicodeError, LookupError):
            continue
    return data.decode("cp1252", errors="replace")


def _iso(date: str) -> str:
    """Return a date as ISO 8601, or as it stands where it is not one of a message."""
    from email.utils import parsedate_to_datetime

    try:
        return parsedate_to_datetime(date).isoformat()
    except (ValueError, TypeError, IndexError, OverflowError):
        return date
