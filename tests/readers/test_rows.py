"""Rows of CSV, JSON, JSON Lines and Parquet as documents."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import re
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasonembed_rag.errors import InputError
from reasonembed_readers import Part, ReadOptions, csv_rows, read_file


def parts(path, **options):
    return list(read_file(path, options=ReadOptions(**options)))


READ = {
    "a.csv": (
        "id,content,n\nx,Cats sleep.,1\ny,,2\n",
        [Part("Cats sleep.", id="x", metadata={"n": 1}, line=2), Part("", id="y", metadata={"n": 2}, line=3)],
    ),
    "semicolons.csv": ("id;text\n1;a, b\n2;c, d\n", [Part("a, b", id="1", line=2), Part("c, d", id="2", line=3)]),
    "lines.csv": (
        'text,n\n"two\nlines",1\nx,2\n',
        [Part("two\nlines", metadata={"n": 1}, line=2), Part("x", metadata={"n": 2}, line=4)],
    ),
    "quotes.csv": ('text,n\n"say ""a, b""",1\n', [Part('say "a, b"', metadata={"n": 1}, line=2)]),
    "crlf.csv": (
        "text,n\r\na,1\r\n\r\nb,2\r\n",
        [Part("a", metadata={"n": 1}, line=2), Part("b", metadata={"n": 2}, line=4)],
    ),
    "types.csv": (
        "text,whole,part,zip,version,empty\na,1,1.5,01234,1.2.3,\nb,-20,2,55555,1.2,\n",
        [
            Part("a", metadata={"whole": 1, "part": 1.5, "zip": "01234", "version": "1.2.3"}, line=2),
            Part("b", metadata={"whole": -20, "part": 2.0, "zip": "55555", "version": "1.2"}, line=3),
        ],
    ),
    "no text.csv": (
        "name,price\nApple,3\n",
        [Part("name: Apple\nprice: 3", metadata={"name": "Apple", "price": 3}, line=2)],
    ),
    "no header.csv": (
        "1,Apple\n2,Pear\n",
        [
            Part("column 1: 1\ncolumn 2: Apple", metadata={"column 1": 1, "column 2": "Apple"}, line=1),
            Part("column 1: 2\ncolumn 2: Pear", metadata={"column 1": 2, "column 2": "Pear"}, line=2),
        ],
    ),
    "twice.csv": ("text,a,a\nx,1,2\n", [Part("x", metadata={"a": 1, "a 3": 2}, line=2)]),
    "comments.csv": (
        "# made by hand\nid,text\n1,a\n# more, to, come\n2,b\n",
        [Part("a", id="1", line=3), Part("b", id="2", line=5)],
    ),
    "excel.csv": ("sep=|\nid|text\n1|a, b; c\n", [Part("a, b; c", id="1", line=3)]),
    "years.csv": (
        "country,2019,2020\nFrance,1,2\n",
        [Part("country: France\n2019: 1\n2020: 2", metadata={"country": "France", "2019": 1, "2020": 2}, line=2)],
    ),
    "only a header.csv": ("a,b\n", []),
    "empty.csv": ("", []),
    "a.tsv": ('id\ttext\n1\tan 8" disk\n2\tb, c\n', [Part('an 8" disk', id="1", line=2), Part("b, c", id="2", line=3)]),
    "a.jsonl": (
        '{"id": "x", "content": "a", "n": 1}\n\n{"id": "y", "content": "b", "tags": ["t"]}\n',
        [
            Part("a", id="x", metadata={"n": 1}, line=1),
            Part("b", id="y", metadata={"tags": ["t"]}, line=3),
        ],
    ),
    "beir.jsonl": (
        '{"_id": 5, "title": "Cats", "text": "They sleep."}\n',
        [Part("Cats\n\nThey sleep.", id="5", line=1)],
    ),
    "no ids.jsonl": ('{"body": "a"}\n{"body": "b"}\n', [Part("a", line=1), Part("b", line=2)]),
    "objects.json": (
        '[\n  {"id": "x", "content": "a"},\n  {"id": "y",\n   "content": "b"}\n]',
        [
            Part("a", id="x", line=2),
            Part("b", id="y", line=3),
        ],
    ),
    "one.json": ('{"id": "x", "text": "a", "n": 1}', [Part("a", id="x", metadata={"n": 1}, line=1)]),
    "following.json": (
        '{"id": "x", "text": "a"}\n{"id": "y", "text": "b"}\n',
        [Part("a", id="x", line=1), Part("b", id="y", line=2)],
    ),
    "settings.json": (
        '{"build": {"jobs": 4, "flags": ["-O2", "-g"]}, "name": "x", "on": true}',
        [Part("build.jobs: 4\nbuild.flags: -O2, -g\nname: x\non: true")],
    ),
    "comments.json": (
        '{\n  // the "compiler"\n  "url": "http://x", /* y */ "strict": true,\n}',
        [Part("url: http://x\nstrict: true")],
    ),
    "list.json": ('["a", "b"]', [Part("a\nb")]),
    "empty.json": ("", []),
}


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize("packed", [False, True])
def test_each_row_is_a_document_with_its_line_and_typed_metadata(tmp_path, name, packed):
    text, wanted = READ[name]
    path = tmp_path / (f"{name}.gz" if packed else name)
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    found = [replace(part, outline=True) for part in parts(path)]
    assert found == wanted
    assert [[type(value) for value in part.metadata.values()] for part in found] == [
        [type(value) for value in part.metadata.values()] for part in wanted
    ]


BAD = {
    "ragged.csv": ("text,n\na,1\nb\n", 3, "1"),
    "wide.csv": ("text,n\na,1\nb,2,3\n", 3, "3"),
    "quote.csv": ('text,n\na,1\n"b,2\nc,3\n', 3, "CSV"),
    "twice.csv": ("id,text\nx,a\ny,b\nx,c\n", 4, "'x'.*twice.csv:2"),
    "no id.csv": ("id,text\nx,a\n,b\n", 3, "id"),
    "surrogate.jsonl": (
        '{"id": "a", "content": "x"}\n{"id": "b", "content": "broken \\ud83d here"}\n',
        2,
        "surrogate.*D83D",
    ),
    "in metadata.jsonl": ('{"id": "a", "content": "x", "tags": [{"t": "\\ud83d"}]}\n', 1, "tags.*surrogate"),
    "in key.jsonl": ('{"id": "a", "content": "x", "m": {"\\ud83d": 1}}\n', 1, "m.*surrogate"),
    "nan.jsonl": ('{"id": "0", "content": "x", "votes": NaN}\n', 1, "votes.*nan"),
    "infinity.jsonl": ('{"id": "0", "content": "x", "v": [1, -Infinity]}\n', 1, "v.*inf"),
    "long integer.jsonl": ('{"id": "0", "content": "x", "n": ' + "9" * 5000 + "}\n", 1, "integer"),
    "deep.jsonl": ('{"id": "0", "content": "x", "n": ' + "[" * 200 + "]" * 200 + "}\n", 1, "nested"),
    "very deep.jsonl": ('{"id": "0", "content": "x", "n": ' + "[" * 10**5 + "]" * 10**5 + "}\n", 1, "nested"),
    "nul.jsonl": ('{"id": "0", "content": "a\\u0000b"}\n', 1, "NUL"),
    "nul in id.jsonl": ('{"id": "a\\u0000b", "content": "x"}\n', 1, "id.*NUL"),
    "twice.jsonl": ('{"id": "a", "content": "x"}\n{"id": "a", "content": "y"}\n', 2, "'a'.*twice.jsonl:1"),
    "missing.jsonl": ('{"id": "a", "content": "x"}\n{"id": "b"}\n', 2, "content.*'b'.*None"),
    "wrong type.jsonl": ('{"id": "a", "content": ["x"]}\n', 1, "content.*'a'"),
    "wrong id.jsonl": ('{"id": 1.5, "content": "x"}\n', 1, "id.*1.5"),
    "no id.jsonl": ('{"id": "a", "content": "x"}\n{"content": "y"}\n', 2, "id"),
    "late id.jsonl": ('{"content": "y"}\n{"id": "a", "content": "x"}\n', 2, "id"),
    "no content.jsonl": ('{"id": "a"}\n', 1, "content"),
    "no object.jsonl": ('{"id": "a", "content": "x"}\n[1]\n', 2, "list"),
    "cut.jsonl": ('{"id": "a", "content": "x"}\n{"id": "b", "con', 2, "JSON"),
    "cut.json": ('[\n{"id": "a", "content": "x"},\n{"id": "b", "con', 3, "JSON"),
    "no end.json": ('[\n{"id": "a", "content": "x"}', 2, "JSON"),
    "more.json": ('[\n{"id": "a", "content": "x"}\n] x', 3, "JSON"),
    "comma.json": ('[\n{"id": "a", "content": "x"}\n{"id": "b", "content": "y"}\n]', 3, "JSON"),
    "nan.json": ('[\n{"id": "a", "content": "x", "n": NaN}\n]', 2, "nan"),
    "long integer.json": ('[\n{"id": "a", "content": "x", "n": ' + "9" * 5000 + "}]", 2, "4300"),
    "twice.json": ('[{"id": "a", "content": "x"},\n{"id": "a", "content": "x"}]', 2, "'a'.*twice.json:1"),
    "bytes.jsonl": (b'{"id": "a", "content": "x"}\n{"id": "b", "content": "\xff"}\n', 2, "UTF-8"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_row_is_named_by_its_line(tmp_path, name):
    text, line, said = BAD[name]
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=rf"{re.escape(name)}:{line}: .*{said}"):
        parts(tmp_path / name)


def test_columns_may_be_named(tmp_path):
    (tmp_path / "a.csv").write_text("sku,title,body,price\n007,Pen,Blue ink,3\n")
    found = parts(tmp_path / "a.csv", text_columns=("title", "body"), id_column="sku")
    assert found == [Part("Pen\n\nBlue ink", id="007", metadata={"price": 3}, line=2)]
    (tmp_path / "a.jsonl").write_text('{"q": "Why?", "a": null, "tags": ["x", "y"]}\n')
    assert parts(tmp_path / "a.jsonl", text_columns=("q", "a", "tags"))[0].text == "Why?\n\nx, y"
    for name in ("a.csv", "a.jsonl"):
        for options in ({"text_columns": ("absent",)}, {"id_column": "absent"}):
            with pytest.raises(InputError, match=rf"{name}: .*'absent'"):
                parts(tmp_path / name, **options)


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.csv", "name,price\nx,1\n", ["text_columns"]),
        ("b.csv", "id,body\nx,y\n", ["column body"]),
        ("c.csv", "1,2\n3,4\n", ["header", "text_columns"]),
        ("d.csv", "id,content\nx,y\n", []),
        ("e.csv", "name,price\n", []),
        ("a.jsonl", '{"title": "x", "text": "y"}\n{"title": "x", "text": "y"}\n', ["title and text"]),
    ],
)
def test_a_guess_of_the_text_is_told_once(tmp_path, name, text, told):
    (tmp_path / name).write_text(text)
    notes: list[str] = []
    list(read_file(tmp_path / name, on_note=notes.append))
    assert len(notes) == len(told)
    assert all(name in note and word in note for note, word in zip(notes, told, strict=True))


def test_tables_in_other_encodings_are_read(tmp_path):
    text = "id,text\n1,Käse für Björn\n"
    notes: list[str] = []
    for encoding in ("utf-8-sig", "utf-16", "latin-1"):
        (tmp_path / "a.csv").write_bytes(text.encode(encoding))
        found = list(read_file(tmp_path / "a.csv", on_note=notes.append))
        assert found == [Part("Käse für Björn", id="1", line=2)]
    assert ["cp1252" in note for note in notes if "read as" in note] == [False, True]
    (tmp_path / "a.jsonl").write_bytes('{"id": "a", "content": "Käse"}\n'.encode("utf-16"))
    assert parts(tmp_path / "a.jsonl") == [Part("Käse", id="a", line=1)]
    (tmp_path / "a.jsonl").write_bytes('{"id": "a", "content": "Käse"}\n'.encode("latin-1"))
    assert parts(tmp_path / "a.jsonl", encoding="latin-1") == [Part("Käse", id="a", line=1)]


def test_a_large_table_is_streamed_and_is_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_rows, "_LARGEST_DECODED", 10)
    (tmp_path / "a.csv").write_text("id,text,n\n1,Käse,2\n", encoding="utf-8-sig")
    assert parts(tmp_path / "a.csv") == [Part("Käse", id="1", metadata={"n": 2}, line=2)]
    (tmp_path / "a.csv").write_text("id,text\n1,a\n2,Käse\n", encoding="latin-1")
    assert parts(tmp_path / "a.csv", encoding="latin-1")[1].text == "Käse"
    assert parts(tmp_path / "a.csv")[1].text == "Käse"
    (tmp_path / "a.csv").write_text("id,text\n1,a\n2,Käse\n", encoding="utf-16")
    assert parts(tmp_path / "a.csv")[1].text == "Käse"
    with pytest.raises(InputError, match=r"b\.csv:3: not .*ascii"):
        parts(_written(tmp_path / "b.csv", b"id,text\n1,a\n2,K\xe4se\n"), encoding="ascii")


def _written(path, content):
    path.write_bytes(content)
    return path


def test_a_field_may_be_longer_than_the_csv_module_reads(tmp_path):
    (tmp_path / "a.csv").write_text(f"id,text\n1,{'word ' * 60_000}\n")
    assert len(parts(tmp_path / "a.csv")[0].text) == 300_000


def test_parquet_rows_are_those_of_json_lines(tmp_path):
    rows = [
        {"id": "a", "content": "one\ntwo", "n": 1, "tags": None},
        {"id": "b", "content": "", "n": None, "tags": ["x"]},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    without_lines = [Part(part.text, id=part.id, metadata=part.metadata) for part in parts(tmp_path / "a.jsonl")]
    assert parts(tmp_path / "a.parquet") == without_lines
    (tmp_path / "a.parquet.gz").write_bytes(gzip.compress((tmp_path / "a.parquet").read_bytes()))
    assert parts(tmp_path / "a.parquet.gz") == without_lines


def test_columns_of_parquet_may_be_named_and_bytes_are_left_out(tmp_path):
    rows = [{"key": 7, "summary": "Cats", "day": dt.date(2024, 1, 2), "raw": b"\0", "vector": [0.5, 0.25]}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    notes: list[str] = []
    options = ReadOptions(text_columns=("summary",), id_column="key")
    found = list(read_file(tmp_path / "a.parquet", options=options, on_note=notes.append))
    assert found == [Part("Cats", id="7", metadata={"day": dt.date(2024, 1, 2), "vector": [0.5, 0.25]})]
    assert [("raw" in note, "bytes" in note) for note in notes] == [(True, True)]
    assert parts(tmp_path / "a.parquet")[0].text == "key: 7\nsummary: Cats\nday: 2024-01-02"


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"id": "a", "content": "x"}, {"id": None, "content": "y"}], "row 2: 'id' is None"),
        ([{"id": "a", "content": "x"}, {"id": "a", "content": "y"}], "row 2: 'id' is 'a', as in .*row 1"),
        ([{"id": "a", "content": "x", "n": float("nan")}], "row 1: 'n' is nan"),
        ([{"id": "a", "content": 5}], "row 1: 'content' of 'a' is 5"),
    ],
)
def test_a_bad_row_of_parquet_is_named_by_its_number(tmp_path, rows, said):
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=rf"a\.parquet: {said}"):
        parts(tmp_path / "a.parquet")


cells = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=8)


@given(st.lists(st.tuples(cells, cells), min_size=1, max_size=5), st.sampled_from(",;\t|"))
def test_what_the_csv_module_wrote_is_read_back(tmp_path_factory, made, delimiter):
    import csv
    import io

    written = io.StringIO()
    writer = csv.writer(written, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writerows([("text", "other"), *made])
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    path.write_bytes(written.getvalue().encode())
    assert [part.text for part in parts(path)] == [text for text, _ in made]
