"""`reasonembed index --enrich`: a chat model behind a server, its answers beside the index, its cost in the summary."""

from __future__ import annotations

import json

import pytest

from reasonembed_cli.app import main

pytestmark = [pytest.mark.loopback, pytest.mark.usefixtures("socket_enabled")]


@pytest.fixture
def docs(tmp_path):
    folder = tmp_path / "docs"
    folder.mkdir()
    for name in ("tides", "bread", "lists"):
        (folder / f"{name}.md").write_text(f"# About {name}\n\nSome words on {name}.\n")
    return folder


@pytest.fixture
def enrich(serve, tmp_path):
    """Write the settings of a chat model's server, and return its file."""

    def write(url=None, *, name="tiny"):
        path = tmp_path / f"{name}.toml"
        path.write_text(
            f'[chat]\nname = "{name}"\nbase_url = "{url or serve().url}"\ninput_price = 100\noutput_price = 100\n\n'
            "[calls]\nfirst_wait = 0.01\nattempts = 1\n"
        )
        return path

    return write


@pytest.fixture
def command(docs, tmp_path, tiny_model):
    return ("index", docs, "--to", tmp_path / "docs.index", "--model", tiny_model("bert"))


def test_calls_tokens_and_cost_are_told_and_the_index_is_named_searched_and_rebuilt_for_nothing(
    succeeds, command, enrich, tmp_path
):
    settings, index = enrich(), tmp_path / "docs.index"
    said = succeeds(*command, "--enrich", settings)
    assert "enrichment: 3 answers, cost 0." in said
    assert "documents enriched by tiny, prompt " in succeeds("info", index)
    assert json.loads(succeeds("info", index, "--json"))["spec"]["enrichment"].startswith("tiny, prompt ")
    (found,) = json.loads(succeeds("search", index, "What about tides?", "--json"))
    assert {hit["content"].splitlines()[-1] for hit in found["hits"]} == {
        f"Some words on {name}." for name in ("tides", "bread", "lists")
    }
    index.rename(tmp_path / "old.index")
    again = json.loads(succeeds(*command, "--enrich", settings, "--json"))["enrichment"]
    assert (again["calls"], again["cached"], again["cost"]) == (0, 3, 0.0)


def test_another_model_or_none_is_refused_before_anything_is_asked(succeeds, fails, command, enrich):
    settings = enrich()
    succeeds(*command, "--enrich", settings)
    assert "enrichment of 'tiny, prompt" in fails(*command)
    assert "come with that of 'else, prompt" in fails(
        *command, "--enrich", enrich("http://127.0.0.1:1/v1", name="else")
    )
    assert "unchanged" in succeeds(*command, "--enrich", settings)


def test_a_server_that_is_gone_leaves_documents_by_their_content_and_the_next_run_asks_again(
    succeeds, command, enrich, serve, tmp_path, capsys
):
    assert main([str(one) for one in (*command, "--enrich", enrich("http://127.0.0.1:1/v1"), "--json")]) == 1
    said = capsys.readouterr()
    gone = json.loads(said.out)["enrichment"]
    (error,) = [line for line in said.err.splitlines() if line.startswith("error: ")]
    assert "no usable answer (the last failure: " in error
    assert "127.0.0.1:1" in error
    assert "all 3 contents" in error
    assert (gone["calls"], gone["failures"], gone["alone"]) == (0, 3, 3)
    assert "3 contents not enriched yet" in succeeds("info", tmp_path / "docs.index")
    back = json.loads(succeeds(*command, "--enrich", enrich(serve().url), "--json"))
    assert (back["unchanged"], back["enrichment"]["calls"], back["enrichment"]["alone"]) == (3, 3, 0)
    assert json.loads(succeeds("info", tmp_path / "docs.index", "--json"))["not_enriched"] == 0


def test_answers_to_some_are_counted_and_no_error(succeeds, command, enrich, monkeypatch):
    from reasonembed_rag.llm import OpenAIChat

    answer = OpenAIChat.__call__

    def fail_on_bread(self, prompt):
        if "bread" in prompt:
            raise TimeoutError("slow")
        return answer(self, prompt)

    monkeypatch.setattr(OpenAIChat, "__call__", fail_on_bread)
    said = json.loads(succeeds(*command, "--enrich", enrich(), "--json"))["enrichment"]
    assert (said["calls"], said["failures"], said["alone"]) == (2, 1, 1)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("nowhere.toml", "nowhere.toml"),
        ("nobody:knows", "nobody:knows"),
        ("nobody:knows", "base_url in a file"),
        ("[chat]\nname = 'm'\ncolour = 'blue'\n", "colour"),
        ("[calls]\nattempts = 1\n", "chat"),
        ("[chat]\nname = 'm'\nbase_url = 'http://127.0.0.1:1/v1'\ninput_price = -1\noutput_price = 1\n", "-1"),
    ],
)
def test_settings_that_cannot_be_used_are_one_line_before_anything_is_written(fails, command, tmp_path, given, told):
    if "\n" in given:
        (tmp_path / "e.toml").write_text(given)
        given = str(tmp_path / "e.toml")
    assert told in fails(*command, "--enrich", given)


def test_vectors_made_elsewhere_are_not_enriched(fails, tmp_path):
    assert "--enrich" in fails("index", "--to", tmp_path / "i", "--vectors", tmp_path, "--enrich", "m")


def test_a_key_that_the_server_refuses_stops_the_run_and_leaves_no_index(
    command, capsys, monkeypatch, tmp_path, enrich
):
    from reasonembed_rag.llm import OpenAIChat

    class RefusedError(Exception):
        status_code = 401

    def refuse(_self, _prompt):
        raise RefusedError("bad key")

    monkeypatch.setattr(OpenAIChat, "__call__", refuse)
    assert main([str(one) for one in (*command, "--enrich", enrich())]) == 2
    assert "cannot be called" in capsys.readouterr().err
    assert not (tmp_path / "docs.index").exists()
