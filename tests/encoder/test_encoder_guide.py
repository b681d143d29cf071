"""The guide's code runs as it is, with tiny models in the place of the named ones."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from reasonembed_rag import Encoder

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "encoder.md"


@pytest.fixture
def folder_of(tiny_model: Callable[..., Path], tmp_path: Path) -> dict[str, str]:
    """Return the folders of a model and of three adapters by the names that the guide gives them."""
    peft = pytest.importorskip("peft")
    from transformers import AutoModel

    model = tiny_model("qwen3")
    folders = {"default": str(tiny_model("bert", pooling="mean")), "reason-embed-qwen3-4b": str(model)}
    for name in ("me/my-lora", "me/bio", "me/law"):
        config = peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
        peft.get_peft_model(AutoModel.from_pretrained(model), config).save_pretrained(tmp_path / name)
        folders[name] = str(tmp_path / name)
    return folders


def _instructed(folder: Path) -> Encoder:
    spec = Encoder.from_pretrained(str(folder)).spec
    template = "Instruct: {instruction}\nQuery: {text}"
    spec = dataclasses.replace(spec, query_template=template, default_instruction="Find it.")
    (folder / "spec.json").write_text(spec.to_json())
    return Encoder.from_pretrained(str(folder))


def test_the_guides_code_runs_on_tiny_models(tiny_model, folder_of, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    for name, folder in folder_of.items():
        blocks = [block.replace(f'"{name}"', repr(folder)) for block in blocks]
    space: dict[str, object] = {"texts": ["Why do cells divide?", "Why is the sky blue?"]}
    for block in [*blocks, *blocks]:
        if "instruction=" in block:  # the guide means a model that takes one
            space["encoder"] = _instructed(tiny_model("qwen3"))
        exec(compile(block, str(GUIDE), "exec"), space)
    first, second = capsys.readouterr().out.splitlines()
    assert first == second
    assert len(first.strip("[]").split()) == 2
    assert space["settings"].model == folder_of["default"]
    assert space["law"].spec != space["encoder"].spec
