"""Lance datasets and Iceberg tables are read as files of the same rows are, and shards become a Lance dataset."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from reasonembed_rag.errors import InputError, MissingDependencyError, SpecMismatchError
from reasonembed_rag.scale import ScaleOptions, VectorShards, encode_to_shards, write_lance

FOUR = ScaleOptions(shard_rows=4)


def rows(start, stop):
    return pa.Table.from_pylist([{"id": f"d{n}", "content": f"text {n} of fox", "year": n} for n in range(start, stop)])


@pytest.fixture
def lance():
    return pytest.importorskip("lance", reason="pip install 'reasonembed-rag[lance]'")


@pytest.fixture
def lake(lance, tmp_path):
    """Write a Lance dataset in three fragments, from which a row was deleted."""
    folder = tmp_path / "corpus" / "docs.lance"
    for start, stop in ((0, 9), (9, 20), (20, 30)):
        lance.write_dataset(rows(start, stop), str(folder), mode="append" if start else "create")
    lance.dataset(str(folder)).delete("id = 'd10'")
    return folder


@pytest.fixture
def iceberg(tmp_path, monkeypatch):
    """Write an Iceberg table of three files, from one of which a row was deleted; return the table."""
    catalogs = pytest.importorskip("pyiceberg.catalog", reason="pip install 'reasonembed-rag[iceberg]'")
    monkeypatch.setenv("PYICEBERG_CATALOG__LAKE__URI", f"sqlite:///{tmp_path}/catalog.sqlite")
    monkeypatch.setenv("PYICEBERG_CATALOG__LAKE__WAREHOUSE", f"file://{tmp_path}/warehouse")
    monkeypatch.setattr(catalogs, "_ENV_CONFIG", type(catalogs._ENV_CONFIG)())  # read when it was imported
    (tmp_path / "warehouse").mkdir()
    catalog = catalogs.load_catalog("lake")
    catalog.create_namespace("texts")
    table = catalog.create_table("texts.docs", schema=rows(0, 1).schema)
    for start, stop in ((0, 9), (9, 20), (20, 30)):
        table.append(rows(start, stop))
    table.delete("id = 'd10'")
    return table


def encoded(source, to, embedder):
    """Encode a source and return what its shards hold, by id."""
    encode_to_shards(str(source), to, embedder, options=FOUR)
    found = {}
    for batch in VectorShards(to):
        for document, vector in zip(batch.documents, batch.vectors, strict=True):
            found[document.id] = (document.content, dict(document.metadata), vector.tolist())
    return found


@pytest.fixture
def wanted(tmp_path, make_embedder):
    """Return what the same rows give as Parquet."""
    table = pa.concat_tables([rows(0, 10), rows(11, 30)])
    parquet.write_table(table, tmp_path / "same.parquet")
    return encoded(tmp_path / "same.parquet", tmp_path / "same", make_embedder())


def test_a_lance_dataset_gives_what_a_file_of_its_rows_gives(lake, tmp_path, make_embedder, wanted):
    assert encoded(lake, tmp_path / "out", make_embedder()) == wanted
    assert encoded(lake.parent, tmp_path / "of-the-folder", make_embedder()) == wanted


def test_a_run_stays_with_the_version_that_it_began_with(lance, lake, tmp_path, make_embedder, wanted):
    out = tmp_path / "out"
    encode_to_shards(lake, out, make_embedder(), options=FOUR)
    version = lance.dataset(str(lake)).version
    (out / "vectors-000003.parquet").unlink()
    lance.write_dataset(rows(30, 33), str(lake), mode="append")
    with pytest.raises(InputError, match="other inputs"):
        encode_to_shards(lake, out, make_embedder(), options=FOUR)
    assert encoded(f"{lake}?version={version}", out, make_embedder()) == wanted
    for source in (f"{lake}?version=x", f"{lake}?version=99", f"{tmp_path / 'same.parquet'}?version=1"):
        with pytest.raises(InputError, match="version"):
            encode_to_shards(source, tmp_path / "no", make_embedder())


def test_an_iceberg_table_gives_what_a_file_of_its_rows_gives(iceberg, tmp_path, make_embedder, wanted):
    assert encoded("iceberg://lake/texts.docs", tmp_path / "out", make_embedder()) == wanted


def test_a_run_stays_with_the_snapshot_that_it_began_with(iceberg, tmp_path, make_embedder, wanted):
    out, source = tmp_path / "out", "iceberg://lake/texts.docs"
    encode_to_shards(source, out, make_embedder(), options=FOUR)
    snapshot = iceberg.current_snapshot().snapshot_id
    (out / "vectors-000003.parquet").unlink()
    iceberg.append(rows(30, 33))
    with pytest.raises(InputError, match="other inputs"):
        encode_to_shards(source, out, make_embedder(), options=FOUR)
    assert encoded(f"{source}?snapshot={snapshot}", out, make_embedder()) == wanted


@pytest.mark.parametrize(
    "source",
    ["iceberg://lake/texts.none", "iceberg://lake/none.docs", "iceberg://lake/docs", "iceberg://none/texts.docs"],
)
@pytest.mark.usefixtures("iceberg")
def test_an_iceberg_table_that_cannot_be_opened_is_named(source, tmp_path, make_embedder):
    with pytest.raises(InputError, match=source):
        encode_to_shards(source, tmp_path / "out", make_embedder())


@pytest.mark.parametrize("mark", ["metadata/00001-a.metadata.json", "_delta_log/00000000000000000000.json"])
def test_the_files_of_a_table_with_deleted_rows_are_not_read_as_files(mark, tmp_path, make_embedder):
    for name in (mark, "data/part-0.parquet"):
        path = tmp_path / "lake" / "docs" / name
        path.parent.mkdir(parents=True)
        parquet.write_table(rows(0, 3), path)
    with pytest.raises(InputError, match=f"{tmp_path / 'lake' / 'docs'}: is an? (Iceberg|Delta) table"):
        encode_to_shards(tmp_path / "lake", tmp_path / "out", make_embedder())


def test_without_the_packages_the_error_names_the_extra(tmp_path, make_embedder, monkeypatch):
    for package in ("lance", "pyiceberg", "pyiceberg.catalog"):
        monkeypatch.setitem(sys.modules, package, None)
    versions = tmp_path / "docs.lance" / "_versions"
    versions.mkdir(parents=True)
    (versions / "1.manifest").write_bytes(b"")
    for source, extra in ((tmp_path / "docs.lance", "lance"), ("iceberg://lake/texts.docs", "iceberg")):
        with pytest.raises(MissingDependencyError, match=rf"\[{extra}\]"):
            encode_to_shards(source, tmp_path / "out", make_embedder())


def test_a_damaged_dataset_is_named(lake, tmp_path, make_embedder):
    for path in (lake / "_versions").iterdir():
        path.write_bytes(b"damaged")
    with pytest.raises(InputError, match=str(lake)):
        encode_to_shards(lake, tmp_path / "out", make_embedder())


def test_shards_become_a_lance_dataset_and_later_ones_its_next_version(lance, lake, tmp_path, make_embedder):
    words = make_embedder()
    encode_to_shards(lake, tmp_path / "shards", words, options=FOUR)
    shards, to = VectorShards(tmp_path / "shards"), tmp_path / "vectors.lance"
    assert write_lance(shards, to) == 1
    found = lance.dataset(str(to))
    assert found.schema.metadata[b"reasonembed.spec"].decode() == words.spec.to_json()
    assert found.to_table().equals(pa.concat_tables(shards.tables()))
    assert write_lance(shards, to) == 2
    assert lance.dataset(str(to)).count_rows() == 29
    encode_to_shards(lake, tmp_path / "others", make_embedder(model="others"), options=FOUR)
    with pytest.raises(SpecMismatchError, match="others"):
        write_lance(VectorShards(tmp_path / "others"), to)
    for folder in (lake, tmp_path / "shards", tmp_path / "same.parquet"):
        folder.parent.mkdir(exist_ok=True)
        folder.write_text("") if folder.suffix == ".parquet" else None
        with pytest.raises(InputError, match=str(folder)):
            write_lance(shards, folder)


def test_a_write_killed_in_the_middle_leaves_no_dataset_and_the_next_one_no_debris(
    lance, lake, tmp_path, make_embedder
):
    encode_to_shards(lake, tmp_path / "shards", make_embedder(), options=FOUR)
    script = (
        "import os, signal, sys; from reasonembed_rag.scale import VectorShards, write_lance\n"
        "class Killed(VectorShards):\n"
        "    def tables(self):\n"
        "        for number, table in enumerate(super().tables()):\n"
        "            yield table if number < 3 else os.kill(os.getpid(), signal.SIGKILL)\n"
        "write_lance(Killed(sys.argv[1]), sys.argv[2])"
    )
    to = tmp_path / "to" / "vectors.lance"
    killed = subprocess.run([sys.executable, "-c", script, str(tmp_path / "shards"), str(to)], check=False)
    assert killed.returncode == -9
    assert not to.exists()
    write_lance(VectorShards(tmp_path / "shards"), to)
    assert [path.name for path in to.parent.iterdir()] == ["vectors.lance"]
    assert lance.dataset(str(to)).count_rows() == 29


@pytest.mark.usefixtures("lance")
def test_the_command_writes_both(tiny_model, lake, tmp_path, capsys):
    from reasonembed_cli.app import main

    words = [
        "encode-corpus",
        str(lake),
        "--to",
        str(tmp_path / "s"),
        "--model",
        str(tiny_model("bert", pooling="mean")),
    ]
    assert main([*words, "--lance", str(lake)]) == 2
    assert "names no model" in capsys.readouterr().err
    assert not (tmp_path / "s").exists()
    assert main([*words, "--lance", str(tmp_path / "v.lance")]) == 0
    assert "v.lance: version 1" in capsys.readouterr().out


def test_shards_are_appended_to_an_iceberg_table(iceberg, tmp_path, make_embedder):
    from pyiceberg.catalog import load_catalog

    encode_to_shards("iceberg://lake/texts.docs", tmp_path / "shards", make_embedder(), options=FOUR)
    shards = VectorShards(tmp_path / "shards")
    vectors = load_catalog("lake").create_table("texts.vectors", schema=next(shards.tables()).schema)
    for table in shards.tables():
        vectors.append(table)
    found = vectors.scan().to_arrow().sort_by("id")
    kept = pa.concat_tables(shards.tables()).sort_by("id")
    np.testing.assert_array_equal(found["vector"].to_pylist(), kept["vector"].to_pylist())
    assert json.loads(found["metadata"][0].as_py()) == {"year": 0}
