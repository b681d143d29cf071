"""Stand-ins for models, chat models and servers of the reader's, and what must come out of the pages."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import re
import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest
from pages_of_docs import PAGES
from server_process import serving
from stand_in import StandIn

from reasonembed_cli.app import main
from reasonembed_rag import Encoder


def chat_server(request, _folder):
    request.getfixturevalue("socket_enabled")
    request.getfixturevalue("monkeypatch").setenv("OPENAI_API_KEY", "sk-test")
    server = request.getfixturevalue("serve")()
    return StandIn({"server": server}, {"http://localhost:8080/v1": server.url})


def check_llm(first, second):
    assert first.space["answers"] == [first.space["chat"](prompt) for prompt in first.space["prompts"]]
    assert Path("answers.sqlite").is_file()
    assert len(first.printed) == len(second.printed) == 3


def check_expansion(first, second):
    (paid,), (free,) = first.printed, second.printed
    assert "calls=1, cached=0" in paid
    assert "calls=0, cached=1" in free
    assert paid.partition(" StageReport")[0] == free.partition(" StageReport")[0]
    assert second.space["server"].stats()["paid"] == 1


def adapters(request, folder):
    """The model that the encoder's guide names, and three adapters of it."""
    peft = pytest.importorskip("peft")
    from transformers import AutoModel

    tiny_model = request.getfixturevalue("tiny_model")
    model = tiny_model("qwen3")
    folders = {"default": tiny_model("bert", pooling="mean"), "reason-embed-qwen3-4b": model}
    for name in ("me/my-lora", "me/bio", "me/law"):
        config = peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
        folders[name] = folder / name
        peft.get_peft_model(AutoModel.from_pretrained(model), config).save_pretrained(folders[name])
    (folder / "questions.txt").write_text("Why do cells divide?\n")
    texts = ["Why do cells divide?", "Why is the sky blue?"]

    def before(block, space):
        if "instruction=" in block:  # the guide means a model that takes one
            space["encoder"] = _instructed(tiny_model("qwen3"))
        return space

    named = {f'"{name}"': repr(str(path)) for name, path in folders.items()}
    return StandIn({"texts": texts, "law": None}, named, before=before)


def _instructed(folder: Path) -> Encoder:
    spec = Encoder.from_pretrained(str(folder)).spec
    template = "Instruct: {instruction}\nQuery: {text}"
    spec = dataclasses.replace(spec, query_template=template, default_instruction="Find it.")
    (folder / "spec.json").write_text(spec.to_json())
    return Encoder.from_pretrained(str(folder))


def check_encoder(first, second):
    assert first.printed == second.printed
    assert len(first.printed[0].strip("[]").split()) == 2
    assert first.space["settings"].model.endswith(Path(first.space["settings"].model).name)
    assert first.space["law"].spec != first.space["encoder"].spec
    assert Path("questions.npy").is_file()


def rerankers(request, _folder):
    named = {
        "cross-encoder/ms-marco-MiniLM-L6-v2": request.getfixturevalue("tiny_classifier")("bert"),
        "lightonai/Reason-ModernColBERT": request.getfixturevalue("late_folder")(),
    }
    return StandIn({}, {name: str(folder) for name, folder in named.items()})


def check_rerankers(first, second):
    assert len(first.space["scores"]) == 2
    assert first.space["hits"].ids == second.space["hits"].ids
    assert len(first.space["hits"]) == 1


def latent(request, _folder):
    return StandIn({}, {"runs/latent/model": str(request.getfixturevalue("latent_folder"))})


def check_latent(first, second):
    assert first.printed[0] == "True"
    reports = [re.findall(r"BuildReport\(.*?\)", "\n".join(run.printed)) for run in (first, second)]
    assert reports == [
        ["BuildReport(compressed=2, kept=0, deleted=0)"],
        ["BuildReport(compressed=0, kept=2, deleted=0)"],
    ]
    assert first.space["answer"] == second.space["answer"] != first.space["from_texts"]
    assert first.space["memory"].nbytes == first.space["encoder"].memory_bytes


def model_card(request, _folder):
    """A card's example goes on with the reader's texts; the large model is too large to load for it."""
    tiny = repr(str(request.getfixturevalue("tiny_model")("bert", pooling="mean")))
    names = {"query": "Why do cells divide?", "documents": ["Mitosis.", "Dogs sleep."]}
    return StandIn(names, {'"default-large"': tiny})


def check_card(first, _second):
    assert first.space["scores"].shape == (1, 2)


def remixer(_request, folder):
    rows = [{"id": str(number), "content": f"Birds of kind {number} build nests of grass."} for number in range(3)]
    (folder / "corpus.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return StandIn({}, {"\nstates = remix(": "\nstates = lambda: remix("})


def check_remixer(first, _second):
    assert first.space["config"].card == "biology"
    assert first.space["writer"]("any prompt").text == "..."


def trained(request, _folder):
    import reasonembed_training

    said = SimpleNamespace(model=Path("runs/tiny-cpu/model"), progress=SimpleNamespace(best=0.5))
    request.getfixturevalue("monkeypatch").setattr(reasonembed_training, "train", lambda recipe: said)
    return StandIn()


def check_trained(first, _second):
    assert first.space["recipe"].optim.lr == 2e-5


def served(request, folder):
    """The server that the guide's first commands start."""
    request.getfixturevalue("socket_enabled")
    block = re.search(r"^```console\n(.*?)^```$", PAGES["docs/guide/deploy.md"], flags=re.MULTILINE | re.DOTALL)[1]
    index, serve = (shlex.split(line)[1:] for line in block.splitlines() if line.startswith("reasonembed "))
    assert _command(*index)[0] == 0
    running = serving(*serve[1:], cwd=folder)
    _, url = running.__enter__()
    request.addfinalizer(lambda: running.__exit__(None, None, None))
    return StandIn({"url": url}, {"http://127.0.0.1:8000": url})


def _command(*words):
    """Run a command in this process; return its exit code and what it wrote."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([*words])
    return code, out.getvalue(), err.getvalue()


def _check_search(url):
    """The search that the guide shows within a paragraph asks the server, which refuses an index of another model."""
    found = re.search(r"`(reasonembed search .+?)`", PAGES["docs/guide/deploy.md"], flags=re.DOTALL)[1]
    words = shlex.split(found.replace("http://127.0.0.1:8000", url))[1:]
    code, out, err = _command(*words, "--json")
    assert code == 0, err
    assert "Where things live" in out
    assert _command("index", "CONTRIBUTING.md", "--to", "base.index", "--model", "default-base")[0] == 0
    words[words.index("guide.index")] = "base.index"
    code, out, err = _command(*words, "--model", "default")
    assert (code, out) == (2, "")
    assert "another model" in err


def check_served(first, second):
    _check_search(first.space["url"])
    assert len(first.printed) == len(second.printed) == 6
    assert all("CONTRIBUTING.md" in line for line in first.printed[3:])
    assert "Traceback" not in Path("log.jsonl").read_text()
