"""The guide's server starts by its own commands, and its search asks it."""

from __future__ import annotations

import re
import shlex

import pytest
from pages_of_docs import PAGES, ROOT
from server_process import reasonembed, serving

pytestmark = [pytest.mark.loopback, pytest.mark.usefixtures("socket_enabled")]

GUIDE = PAGES["docs/guide/deploy.md"]


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
