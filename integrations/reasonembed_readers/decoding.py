"""The text of bytes: their encoding is marked, declared, UTF-8 or guessed, and a guess is told."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from reasonembed_rag.errors import InputError
from reasonembed_readers.guessing import guessed_encoding
from reasonembed_readers.parts import Note, ReadOptions
from reasonembed_readers.raw import open_bytes, read_bytes
from reasonembed_readers.surrogates import whole_characters

__all__ = ["decoded", "encoding_of", "is_utf8", "looks_binary", "read_decoded"]

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins as the mark of UTF-16, so it comes first
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_AS_BROWSERS_READ = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "big5": "big5hkscs",
}
"""What pages that declare an encoding are written in: its superset, as the Encoding Standard has it."""
_CONTROLS = bytes({*range(7), *range(14, 26), *range(28, 32), 127})  # tab to return, Ctrl-Z and escape are of texts
_SAMPLE = 1 << 16
_MOST_CONTROLS = 0.02
_MOST_CONTROLS_UNKNOWN = 0.002
"""In text that is not UTF-8, where random bytes have a tenth and numbers at least some."""
_LONGEST_CHARACTER = 3
_HALF = 0.3


def read_decoded(
    path: Path, options: ReadOptions, note: Note, *, declared: Callable[[bytes], str | None] = lambda _: None
) -> str:
    """Return the text of a file, its lines ended by line feeds; `declared` finds the encoding that its bytes declare.

    Raises InputError, naming path:line where it can, for a file that is not text.
    """
    data = read_bytes(path)
    return decoded(data, name=str(path), options=options, note=note, declared=declared(data))


def decoded(data: bytes, *, name: str, options: ReadOptions, note: Note, declared: str | None = None) -> str:
    """Return bytes as text: by their mark, what they declare, the options, as UTF-8, or as charset-normalizer guesses.

    Notes every encoding but UTF-8. Raises InputError, naming name:line, for NUL characters and for what is no text.
    """
    found = _by_statement(data, name=name, options=options, declared=declared) or _by_content(data, name=name)
    if found.note:
        note(f"{name}: {found.note}")
    text = whole_characters(found.text).replace("\r\n", "\n").replace("\r", "\n")
    if (place := text.find("\0")) >= 0:
        line = text.count("\n", 0, place) + 1
        raise InputError(
            f"{name}:{line}: holds a NUL character; it is not text, or its encoding is not {found.encoding}"
        )
    return text


def encoding_of(path: Path, options: ReadOptions, note: Note) -> str:
    """Return the encoding of a file too large for memory: by its mark, the options, as UTF-8 or a guess."""
    with open_bytes(path) as file:
        head = file.read(4)
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding
    if options.encoding is not None:
        return options.encoding
    foreign: list[bytes] = []
    with open_bytes(path) as file:
        for line in file:
            if not is_utf8(line):
                foreign.append(line)
                if sum(map(len, foreign)) > _SAMPLE:
                    break
    if not foreign:
        return "utf-8"
    encoding = guessed_encoding(foreign)
    note(f"{path}: read as {encoding} (guessed)")
    return encoding


def looks_binary(head: bytes) -> bool:
    """Tell whether the first bytes of a file are not those of a text in any encoding."""
    if any(head.startswith(mark) for mark, _ in _MARKS) or _unmarked_utf16(head):
        return False
    most = _MOST_CONTROLS if is_utf8(head[:-_LONGEST_CHARACTER]) else _MOST_CONTROLS_UNKNOWN
    return 0 in head or len(head) - len(head.translate(None, _CONTROLS)) > most * len(head)


@dataclass(frozen=True, slots=True)
class _Decoded:
    text: str
    encoding: str
    note: str = ""


def _by_statement(data: bytes, *, name: str, options: ReadOptions, declared: str | None) -> _Decoded | None:
    """Decode bytes as they or the user say; None if nobody does, or what they declare is not so."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            said = "" if encoding == "utf-8-sig" else f"read as {encoding.upper()} (byte order mark)"
            return _Decoded(_strictly(data, encoding, name=name), encoding, said)
    if declared is not None and (read := _as_declared(data, declared)) is not None:
        return read
    if options.encoding is not None:
        return _Decoded(_strictly(data, options.encoding, name=name), options.encoding)
    return None


def _as_declared(data: bytes, declared: str) -> _Decoded | None:
    try:
        encoding = codecs.lookup(declared).name
    except (LookupError, ValueError):
        return None
    encoding = _AS_BROWSERS_READ.get(encoding, encoding)
    if encoding in {"utf-8", "utf-16", "utf-32"} or (encoding.startswith("cp125") and is_utf8(data)):
        return None  # pages that are served as UTF-8 often declare what they once were
    try:
        return _Decoded(data.decode(encoding), encoding, f"read as {encoding} (declared)")
    except (UnicodeDecodeError, LookupError):
        return None


def _strictly(data: bytes, encoding: str, *, name: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{name}:{line}: not {encoding.upper()} ({error.reason} at byte {error.start}); save it as UTF-8"
        ) from error


def is_utf8(data: bytes) -> bool:
    """Tell whether bytes are UTF-8."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _by_content(data: bytes, *, name: str) -> _Decoded:
    if (encoding := _unmarked_utf16(data[:_SAMPLE])) is not None:
        return _Decoded(_strictly(data, encoding, name=name), encoding, f"read as {encoding} (guessed)")
    try:
        return _Decoded(data.decode(), "UTF-8")
    except UnicodeDecodeError as error:
        if looks_binary(data[:_SAMPLE]):
            raise InputError(f"{name}: is not text; want text in any encoding") from error
    return _guessed(data)


def _unmarked_utf16(head: bytes) -> str | None:
    """Return the byte order of UTF-16 text without a mark: every other byte of mostly Latin text is NUL."""
    head = head[: len(head) // 2 * 2]
    even, odd = head[::2].count(0), head[1::2].count(0)
    if not head or 0 not in head or (even and odd):
        return None
    return {True: "utf-16-le", False: "utf-16-be"}[odd > even] if max(even, odd) > _HALF * len(head) else None


def _guessed(data: bytes) -> _Decoded:
    """Decode text that is not UTF-8, or that is UTF-8 but for some lines, as old changelogs are."""
    lines = data.splitlines(keepends=True)
    foreign = [line for line in lines if not is_utf8(line)]
    others = sum(not line.isascii() for line in lines) - len(foreign)
    if others > len(foreign):
        return _mixed(lines)
    encoding = guessed_encoding(foreign)
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        return _mixed(lines)
    return _Decoded(text, encoding, f"read as {encoding} (guessed)")


def _mixed(lines: Sequence[bytes]) -> _Decoded:
    """Decode lines as UTF-8, and those that are not as what they are guessed to be; what is still bad is replaced."""
    encoding = guessed_encoding([line for line in lines if not is_utf8(line)])
    foreign = 0
    texts: list[str] = []
    for line in lines:
        try:
            texts.append(line.decode())
        except UnicodeDecodeError:
            foreign += 1
            texts.append(line.decode(encoding, errors="replace"))
    return _Decoded("".join(texts), "UTF-8", f"read as UTF-8, {foreign:,} lines of it as {encoding} (guessed)")
