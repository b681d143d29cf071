"""Whatever bytes a file has, it is read or refused by name."""

from __future__ import annotations

import bz2
import gzip
import lzma

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasonembed_rag.errors import InputError
from reasonembed_readers import read_file

SEEDS = {
    ".csv": b'id,text,n\n1,"a, b",2\n2,c,3\n',
    ".tsv": b"id\ttext\n1\ta\n",
    ".html": b"<!doctype html><title>T</title><table><tr><td>a<td>b</table><pre>x</pre><ul><li>y",
    ".json": b'[{"id": "a", "content": "x", "n": [1, 2.5, null]}, {"id": "b", "content": "\\u00e9"}]',
    ".jsonl": b'{"id": "a", "content": "x", "n": 1}\n{"id": "b", "content": "y"}\n',
    ".md": b"---\ntitle: T\ndate: 2024-01-02\n---\n# A\n\ntext\n",
    ".txt": "Käse, Кошки\n".encode(),
    ".unknown": b"text\n",
    ".xhtml": b'<?xml version="1.0" encoding="latin-1"?><p/><script/>x',
}


@st.composite
def broken(draw, content):
    """A file with some of its bytes changed, dropped, repeated or foreign."""
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(content)))
        end = draw(st.integers(start, min(len(content), start + 8)))
        content = content[:start] + draw(st.binary(max_size=6)) + content[end:]
    return content


@pytest.mark.parametrize("suffix", SEEDS)
@settings(max_examples=60)
@given(st.data())
def test_a_broken_file_is_read_or_refused_by_name(tmp_path_factory, suffix, data):
    content = data.draw(broken(SEEDS[suffix]))
    pack, packed = data.draw(st.sampled_from([(bytes, ""), (gzip.compress, ".gz"), (bz2.compress, ".bz2")]))
    path = tmp_path_factory.mktemp("any") / f"file{suffix}{packed}"
    path.write_bytes(pack(content))
    try:
        parts = list(read_file(path))
    except InputError as error:
        assert str(path) in str(error)  # noqa: PT017 - either is right
        return
    for part in parts:
        (part.text + "".join(map(str, part.metadata.values()))).encode()  # no half characters
        assert "\0" not in part.text
        assert part.line is None or 1 <= part.line <= content.count(b"\n") + content.count(b"\r") + 1


@pytest.mark.parametrize(("packed", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)])
@settings(max_examples=40)
@given(st.data())
def test_a_broken_packed_file_is_read_or_refused_by_name(tmp_path_factory, packed, pack, data):
    path = tmp_path_factory.mktemp("any") / f"file.txt{packed}"
    path.write_bytes(data.draw(broken(pack(b"Cats sleep.\n" * 20))))
    try:
        list(read_file(path))
    except InputError as error:
        assert str(path) in str(error)  # noqa: PT017 - either is right
