"""The guide's server starts by its own commands, and its code runs against it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from guides import DOCS, python_of, run_twice
from server_process import reasonembed, serving

pytestmark = [pytest.mark.loopback, pytest.mark.usefixtures("socket_enabled")]

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (DOCS / "deploy.md").read_text()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("guide")


@pytest.fixture(scope="module")
def url(folder):
    block = re.search(r"^```console\n(.*?)^```$", GUIDE, flags=re.MULTILINE | re.DOTALL)[1]
    index, serve = (shlex.split(line)[1:] for line in block.splitlines() if line.startswith("reasonembed "))
    index[index.index("CONTRIBUTING.md")] = str(ROOT / "CONTRIBUTING.md")
    done = reasonembed(*index, cwd=folder)
    assert done.returncode == 0, done.stderr
    with serving(*serve[1:], cwd=folder) as (process, url):
        yield url
    assert process.returncode == 0
    assert "Traceback" not in (folder / "log.jsonl").read_text()


def test_the_guides_code_runs_from_top_to_bottom(url, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    run_twice(python_of("deploy").replace("http://127.0.0.1:8000", url), as_notebook=True)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == ["2 384 10", "384 384", "(1, 384)"]
    assert len(lines) == 2 * 6
    assert all("CONTRIBUTING.md" in line for line in lines[3:6])


def test_the_guides_search_asks_the_server_which_is_refused_for_the_index_of_another_model(url, folder):
    found = re.search(r"`(reasonembed search .+?)`", GUIDE, flags=re.DOTALL)[1]
    words = shlex.split(found.replace("http://127.0.0.1:8000", url))[1:]
    done = reasonembed(*words, "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "Where things live" in done.stdout
    other = ["index", str(ROOT / "LICENSE"), "--to", "base.index", "--model", "default-base"]
    assert reasonembed(*other, cwd=folder).returncode == 0
    words[words.index("guide.index")] = "base.index"
    refused = reasonembed(*words, "--model", "default", cwd=folder)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "another model" in refused.stderr
