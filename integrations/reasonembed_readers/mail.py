"""Readers of e-mail: single messages, and mailboxes in the format mbox."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from reasonembed_rag.errors import InputError
from reasonembed_readers.messages import Unread, message_parts
from reasonembed_readers.parts import Note, Part, ReadOptions
from reasonembed_readers.raw import open_bytes, read_bytes

__all__ = ["read_mailbox", "read_message"]

_ENVELOPE = re.compile(rb"From .*\d:\d\d")
"""A line that separates messages, if a blank one is above it: the sender and the time."""
_QUOTED = re.compile(rb"^>(>*From )", re.MULTILINE)
_LARGEST = 256 << 20
_EMLX = re.compile(rb"\s*(\d+)\s*\n")


def read_message(path: Path, options: ReadOptions, note: Note) -> Iterator[Part]:
    """Yield a message (.eml, .emlx of Apple Mail, .mht), and after it the texts that are attached."""
    data = read_bytes(path)
    if path.suffix.lower() == ".emlx" and (counted := _EMLX.match(data)):
        data = data[counted.end() :][: int(counted.group(1)[:12])]
    unread = Unread()
    yield from message_parts(data, name=str(path), options=options, unread=unread)
    if unread.kinds:  # the same words for every message of a folder, so that a run tells them once
        note(f"{path}: attachments that are no text were not read; save as files what should be")


def read_mailbox(path: Path, options: ReadOptions, note: Note) -> Iterator[Part]:
    """Yield the messages of a mailbox one by one, each with its number as `message`."""
    unread = Unread()
    for number, (line, data) in enumerate(_messages(path), 1):
        for part in message_parts(data, name=f"{path}:{line}", options=options, unread=unread):
            yield Part(part.text, heading=part.heading, metadata={**part.metadata, "message": number})
    if unread.kinds:
        counts = ", ".join(f"{count:,} {kind}" for kind, count in unread.kinds.most_common())
        note(f"{path}: attachments that were not read: {counts}; save as files what should be")


def _messages(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the first line's number and the bytes of every message."""
    held: list[bytes] = []
    size, start, after_blank = 0, 1, True
    with open_bytes(path) as file:
        for number, line in enumerate(file, 1):
            if after_blank and _ENVELOPE.match(line):
                if held:
                    yield start, _unquoted(held)
                held, size, start = [], 0, number + 1
            else:
                held.append(line)
                size += len(line)
                if size > _LARGEST:
                    raise InputError(f"{path}:{start}: a message of more than {_LARGEST >> 20} MiB; is it a mailbox?")
            after_blank = not line.strip()
    if held:
        yield start, _unquoted(held)


def _unquoted(lines: list[bytes]) -> bytes:
    return _QUOTED.sub(rb"\1", b"".join(lines))
