"""A reader of manual pages, in the macros man and mdoc of roff, as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from reasonembed_readers.decoding import read_decoded
from reasonembed_readers.parts import Note, Part, ReadOptions
from reasonembed_readers.roff import arguments, unescaped

__all__ = ["read_man_page"]

_SECTIONS = {"SH": "#", "Sh": "#", "SS": "##", "Ss": "##"}
_BREAKS = {"br": "\n", **dict.fromkeys(("PP", "P", "LP", "HP", "Pp", "sp", "RS", "RE", "Bl", "El", "TQ"), "\n\n")}
_CODE = {"nf", "EX", "Bd"}
_CODE_ENDS = {"fi", "EE", "Ed"}
_JOINED = {"BR", "BI", "RB", "RI", "IR", "IB"}
_TEXTS = {"B", "I", "R", "SM", "SB", "SY", "OP", "UR", "MT", "URL"}
_SILENT = {"Dd", "Os", "Sm", "Bk", "Ek"}
_BLOCKS = {"de": "..", "de1": "..", "am": "..", "ig": "..", "TS": ".TE", "EQ": ".EN"}
_NO_SPACE_BEFORE = re.compile(r" +([.,;:!?)\]]+)(?= |$)")
_MDOC = re.compile(r"[A-Z][a-z]")
_CONDITION = re.compile(r"[.'][ \t]*(?:(?:if|ie) +n +(?!\\\{)(?P<line>.*)|(?:if|ie|el)\b)")
"""A condition, with its line where it is for terminals; of blocks, every line is taken."""


def read_man_page(path: Path, options: ReadOptions, note: Note) -> Iterator[Part]:
    """Yield a page under its name and section; one that only points to another page is told."""
    lines = read_decoded(path, options, note).replace("\\\n", "").split("\n")
    page = _Page()
    for line in _without_blocks(lines):
        page.add(line)
    text = page.text()
    if text:
        yield Part(text, heading=(page.title,) if page.title else ())
    elif page.points:
        note(f"{path}: has no text of its own, as it stands for another page")


def _without_blocks(lines: list[str]) -> Iterator[str]:
    """Yield the lines outside of definitions and equations, from the title on; rows of tables without their layout."""
    starts = (at for at, line in enumerate(lines) if re.match(r"\.\s*(TH|Dd|Dt|so)\s", line))
    end = ""
    in_layout = False
    for line in lines[next(starts, 0) :]:
        name = line[1:].split(maxsplit=1)[0] if line[:1] in {".", "'"} and line[1:].strip() else ""
        if end:
            if line.startswith(end):
                end = ""
            elif end == ".TE" and not in_layout:
                yield from _row(line)
            in_layout = in_layout and not line.rstrip().endswith(".")
        elif name in _BLOCKS:
            end = _BLOCKS[name]
            in_layout = end == ".TE"
        elif condition := _CONDITION.match(line):
            yield from [condition["line"]] if condition["line"] else []
        else:
            yield line


def _row(line: str) -> Iterator[str]:
    if line.strip("_= \t") and not line.startswith((".", "'")):
        yield line.replace("T{", "").replace("T}", "").strip().replace("\t", " | ")
        yield ".br"


class _Page:
    """The text of a page as it is put together."""

    def __init__(self) -> None:
        self.title = ""
        self.points = False
        self._name = ""
        self._pieces: list[str] = []
        self._in_code = False
        self._awaits = ""
        """What the next text is: a section's title, the tag of a paragraph."""

    def text(self) -> str:
        self._fence(opens=False)
        text = re.sub(r"[ \t]+\n", "\n", "".join(self._pieces))
        text = re.sub(r"^•\s*", "- ", text, flags=re.MULTILINE)
        return re.sub(r"\n{3,}", "\n\n", re.sub(r"```\n+```\n?", "", text)).strip()

    def add(self, line: str) -> None:
        """Add a line: text, or a request and its arguments."""
        if line[:1] not in {".", "'"}:
            self._say(unescaped(line))
            return
        name, words = arguments(line)
        if name in {"TH", "Dt"}:
            self.title = f"{words[0]}({words[1]})" if len(words) > 1 else "".join(words[:1])
        elif name == "so":
            self.points = True
        elif name in _SECTIONS:
            self._heading(_SECTIONS[name], " ".join(words))
        elif name in _CODE or name in _CODE_ENDS:
            self._fence(opens=name in _CODE)
        elif name in {"TP", "IP", "It"}:
            self._tag(name, words)
        elif name in _BREAKS:
            self._pieces.append(_BREAKS[name])
        else:
            self._say_words(name, words)

    def _say_words(self, name: str, words: list[str]) -> None:
        if not words and not _MDOC.fullmatch(name):  # the font of the next line
            return
        if name in _JOINED:
            self._say("".join(words))
        elif name in _TEXTS:
            self._say(" ".join(words))
        elif _MDOC.fullmatch(name) and name not in _SILENT:
            self._say(self._inline([name, *words]))

    def _say(self, text: str) -> None:
        if self._awaits.startswith("#"):
            self._heading(self._awaits, text)
        elif self._awaits == "tag":
            self._awaits = ""
            self._pieces.append(f"{text}\n")
        elif self._in_code:
            self._pieces.append(f"{text}\n")
        elif not text.strip():
            self._pieces.append("\n\n")
        else:
            at_start = not self._pieces or self._pieces[-1].endswith("\n")
            self._pieces.append(text.strip() if at_start else f" {text.strip()}")

    def _heading(self, marks: str, title: str) -> None:
        self._fence(opens=False)
        self._awaits = "" if title.strip() else marks
        if title.strip():
            self._pieces.append(f"\n\n{marks} {title.strip()}\n\n")

    def _fence(self, *, opens: bool) -> None:
        if opens != self._in_code:
            at_start = "".join(self._pieces[-1:]).endswith("\n")
            self._pieces.append("\n\n```\n" if opens else f"{'' if at_start else chr(10)}```\n\n")
            self._in_code = opens

    def _tag(self, name: str, words: list[str]) -> None:
        self._pieces.append("\n\n")
        if name == "TP":
            self._awaits = "tag"
        elif name == "It" and words:
            self._pieces.append(f"{self._inline(words)}\n")
        elif words and words[0].strip():
            is_bullet = not re.search(r"\w", words[0])
            self._pieces.append("-" if is_bullet else f"{words[0]}\n")

    def _inline(self, words: list[str]) -> str:
        """Return the text of the macros of mdoc on one line: flags with a dash, other pages with their section."""
        pieces: list[str] = []
        dash = glued = False
        for at, word in enumerate(words):
            if word == "Nm":
                named = words[at + 1] if at + 1 < len(words) and not _MDOC.fullmatch(words[at + 1]) else ""
                self._name = self._name or named
                pieces.extend([] if named else [self._name])
            elif word == "Ns":
                glued = True
            elif _MDOC.fullmatch(word):
                dash = word == "Fl"
                pieces.extend(["-"] if word == "Nd" else [])
            else:
                text = f"-{word}" if dash else word
                if "Xr" in words[max(0, at - 2) : at - 1] and re.fullmatch(r"\d\w*", word):
                    text, glued = f"({word})", True
                if glued and pieces:
                    pieces[-1] += text
                else:
                    pieces.append(text)
                dash = glued = False
        return _NO_SPACE_BEFORE.sub(r"\1", " ".join(pieces))
