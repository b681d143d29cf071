"""Questions written for the default models, with the documents that they need.

python training/dataset_scripts/written.py FOLDER [--packages FOLDER_OF_DEBS]

A language model (Claude, 2026-11-29) wrote the questions, and where no free text was at hand the documents too: see
written/README.md. This script fetches the other documents, passages of Debian's documentation packages and
descriptions of its programs, and writes three sets in BRIGHT's format:

FOLDER/manuals   questions whose answer is a passage of a manual; 4,933 passages of 56 packages
FOLDER/programs  needs whose answer is a program; 1,735 descriptions
FOLDER/rows.jsonl    training rows whose documents were written with the query: a positive and a hard negative

What can no longer be found, since a package changed, is left out, counted and told.
"""

from __future__ import annotations

import argparse
import hashlib
import html
import io
import json
import lzma
import re
import sys
import tarfile
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reasonembed_rag.files import replacing
from reasonembed_readers import read_file
from reasonembed_training.datasets import package_part

Rows = Sequence[Mapping[str, object]]
_WRITTEN = Path(__file__).parent / "written"
_DESCRIPTIONS = "dists/bookworm/main/i18n/Translation-en.xz"
_WORDS = 120
"""Words after which a passage ends at the next paragraph."""
_HELD_OUT = 6
"""Every sixth row of written documents, counted per field, is the dev split."""

_TAG = re.compile(r"<[^>]+>", re.DOTALL)
_XML_BLOCK = re.compile(r"<(title|para|p|simpara|listitem)\b[^>]*>(.*?)</\1>", re.DOTALL)
_XML_ASIDE = re.compile(r"<(screen|programlisting|info|indexterm|mediaobject|figure)\b.*?</\1>", re.DOTALL)
_POD_MARK = re.compile(r"[A-Z]<+\s*(.*?)\s*>+")
_POD_FORMAT = re.compile(r"[CFLBIX]<+\s*(.*?)\s*>+")
_DESCRIPTION = re.compile(r"Package: (\S+)\nDescription-md5: \S+\nDescription-en: (.*)\n((?: .*\n?)+)")
_BOILERPLATE = re.compile(r"This (is a |)(dummy|transitional|virtual)|This package (contains|provides|is a)")


@dataclass(frozen=True, slots=True)
class ManualSection:
    """Text under a heading."""

    heading: str
    text: str


def passage_key(text: str) -> str:
    """Return 16 hexadecimal digits that are equal for texts which differ only in white space."""
    return hashlib.blake2b(" ".join(text.split()).encode(), digest_size=8).hexdigest()


def sections(path: Path) -> Iterator[ManualSection]:
    """Yield the sections of a manual's file."""
    if path.name.endswith((".docbook", ".xml", ".page")):
        yield from _xml_sections(path.read_text(encoding="utf-8", errors="replace"))
    elif path.suffix == ".pod":
        yield from _pod_sections(path.read_text(encoding="utf-8", errors="replace"))
    else:
        for part in read_file(path):
            yield ManualSection(" > ".join(part.heading[-2:]), part.text)


def passages(section: ManualSection) -> Iterator[str]:
    """Yield runs of whole paragraphs of up to 120 words, under a heading of less than 120 characters."""
    lead = f"{section.heading.strip()}\n\n" if 0 < len(section.heading.strip()) < _WORDS else ""
    run: list[str] = []
    for paragraph in filter(None, (one.strip() for one in re.split(r"\n\s*\n", section.text))):
        if run and sum(len(one.split()) for one in [*run, paragraph]) > _WORDS:
            yield lead + _tidy(run)
            run = []
        run.append(paragraph)
    if run:
        yield lead + _tidy(run)


def _tidy(run: list[str]) -> str:
    text = "\n\n".join(run)
    return "\n".join(line.rstrip() for line in text.split("\n")) if "\n" in text else " ".join(text.split())


def _xml_sections(text: str) -> Iterator[ManualSection]:
    heading, blocks = "", list[str]()
    for kind, block in _XML_BLOCK.findall(_XML_ASIDE.sub("", text)):
        plain = " ".join(html.unescape(_TAG.sub("", block)).split())
        if not plain or "&" in plain[:2]:
            continue
        if kind != "title":
            blocks.append(plain)
            continue
        if blocks:
            yield ManualSection(heading, "\n\n".join(blocks))
        heading, blocks = plain, []
    if blocks:
        yield ManualSection(heading, "\n\n".join(blocks))


def _pod_sections(text: str) -> Iterator[ManualSection]:
    heading, blocks = "", list[str]()
    for block in re.split(r"\n\s*\n", text):
        if block.startswith("=head"):
            if blocks:
                yield ManualSection(heading, "\n\n".join(blocks))
            heading, blocks = _POD_MARK.sub(r"\1", block.split(" ", 1)[-1]), []
        elif block.startswith("=item"):
            blocks.append(_POD_MARK.sub(r"\1", block[5:]))
        elif not block.startswith("="):
            blocks.append(_POD_FORMAT.sub(r"\1", block))
    if blocks:
        yield ManualSection(heading, "\n\n".join(blocks))


def _download(path: str) -> bytes:
    try:
        with urllib.request.urlopen(f"https://deb.debian.org/debian/{path}", timeout=300) as answer:
            content: bytes = answer.read()
    except OSError as error:
        sys.exit(
            f"Debian's {path} cannot be downloaded ({error}); fetch it elsewhere and pass its folder by --packages"
        )
    return content


def _package(entry: Mapping[str, str], local: Path | None) -> bytes:
    name = Path(entry["path"]).name
    held = None if local is None else local / name
    content = held.read_bytes() if held is not None and held.is_file() else _download(entry["path"])
    found = hashlib.sha256(content).hexdigest()
    if found != entry["sha256"]:
        sys.exit(f"{name} has sha256 {found}; want {entry['sha256']}: pass the folder of that version by --packages")
    return content


def _files(pattern: str) -> list[str]:
    """Return the patterns that braces stand for."""
    inside = re.search(r"\{([^}]*)\}", pattern)
    if inside is None:
        return [pattern]
    return [pattern[: inside.start()] + one + pattern[inside.end() :] for one in inside[1].split(",")]


def manual_documents(entry: Mapping[str, object], package: bytes) -> dict[str, str]:
    """Return the wanted passages of a package by key."""
    wanted = set(entry["passages"]) if isinstance(entry["passages"], list) else set()
    found: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as name:
        with tarfile.open(fileobj=io.BytesIO(package_part(package, "data.tar.xz")), mode="r:xz") as archive:
            archive.extractall(name, members=[member for member in archive if member.isfile()], filter="data")
        paths = {path for one in _files(str(entry["files"])) for path in Path(name).glob(one)}
        for path in sorted(paths):
            if len(found) == len(wanted):
                break
            for text in _passages_of(path):
                if (key := passage_key(text)) in wanted:
                    found.setdefault(key, text)
    return found


def _passages_of(path: Path) -> Iterator[str]:
    if not path.is_file():
        return
    for section in sections(path):
        yield from (text.strip() for text in passages(section))


def program_documents(index: str, wanted: set[str]) -> Rows:
    """Return the descriptions of the wanted programs from Debian's index of descriptions."""
    documents: dict[str, str] = {}
    for block in index.split("\n\n"):
        found = _DESCRIPTION.match(block)
        if found and found[1] in wanted:
            paragraphs = [" ".join(one.split()) for one in found[3].replace("\n .\n", "\n\n").split("\n\n")]
            body = " ".join(one for one in paragraphs if not _BOILERPLATE.match(one))
            documents[found[1]] = f"{found[2]}\n\n{body}"
    return [{"id": name, "content": documents[name]} for name in sorted(documents)]


def _lines(name: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in (_WRITTEN / name).read_text(encoding="utf-8").splitlines()]


def _examples(rows: list[dict[str, str]], field: str, documents: Rows) -> Rows:
    """Return the questions whose document was found; tell how many were left out."""
    present = {str(document["id"]) for document in documents}
    kept = [
        {"id": f"{row[field]}-{number}", "query": row["query"], "gold_ids": [row[field]], "excluded_ids": []}
        for number, row in enumerate(rows)
        if row[field] in present
    ]
    if len(kept) < len(rows):
        sys.stderr.write(f"{len(rows) - len(kept)} of {len(rows)} questions left out: their documents have changed\n")
    return kept


def write_rows(path: Path, *, dev: bool = False) -> int:
    """Write the rows whose documents were written with the query, of the train or the dev split; return how many."""
    rows = [row for row in _lines("triplets.jsonl") if _is_held_out(row["id"]) == dev]
    with replacing(path) as file:
        for row in rows:
            fields = {
                "id": row["id"],
                "task": "written",
                "query": row["query"],
                "pos": [row["positive"]],
                "neg": [row["negative"]],
            }
            file.write(f"{json.dumps(fields, ensure_ascii=False)}\n".encode())
    return len(rows)


def _is_held_out(name: str) -> bool:
    return int(name.rpartition("-")[2]) % _HELD_OUT == _HELD_OUT - 1


def write_set(
    folder: Path, documents: Rows, examples: Mapping[str, Rows], *, source: Mapping[str, object], called: str
) -> None:
    """Write documents, examples by split and their source; print how many documents, `called` so, and examples."""
    _write(folder / "documents.jsonl", documents)
    for split, rows in examples.items():
        _write(folder / f"examples.{split}.jsonl", rows)
    with replacing(folder / "sources.json") as file:
        file.write(json.dumps([{**source, "texts": len(documents)}], indent=1).encode())
    counts = ", ".join(f"{len(rows)} {split}" for split, rows in examples.items())
    sys.stdout.write(f"{len(documents)} {called}: {counts}\n")


def _write(path: Path, rows: Rows) -> None:
    with replacing(path) as file:
        file.writelines(f"{json.dumps(row, ensure_ascii=False)}\n".encode() for row in rows)


def main() -> None:
    """Write the sets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--packages", type=Path, help="a folder of .deb files to take instead of downloading them")
    asked = parser.parse_args()
    packages = json.loads((_WRITTEN / "packages.json").read_text(encoding="utf-8"))
    found: dict[str, str] = {}
    for entry in packages:
        sys.stderr.write(f"{entry['package']} {entry['version']}\n")
        found |= manual_documents(entry, _package(entry, asked.packages))
    manuals = [{"id": key, "content": text} for key, text in sorted(found.items())]
    source = {"source": "Debian bookworm", "package": f"{len(packages)} packages: written/packages.json"}
    questions = _examples(_lines("questions.jsonl"), "passage", manuals)
    write_set(asked.folder / "manuals", manuals, {"train": questions}, source=source, called="passages; questions")
    wanted = set((_WRITTEN / "programs.txt").read_text(encoding="utf-8").split())
    programs = program_documents(lzma.decompress(_download(_DESCRIPTIONS)).decode(), wanted)
    needs = _examples(_lines("needs.jsonl"), "package", programs)
    source = {"source": "Debian bookworm", "package": _DESCRIPTIONS}
    write_set(asked.folder / "programs", programs, {"train": needs}, source=source, called="programs; needs")
    sys.stdout.write(f"{write_rows(asked.folder / 'rows.jsonl')} rows with written documents\n")


if __name__ == "__main__":
    main()
