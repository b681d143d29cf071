"""constraints.txt pins every direct dependency, and nothing else, within what pyproject.toml allows."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def pinned() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    assert all(len(pin.specifier) == 1 and str(pin.specifier).startswith("==") for pin in pins)
    return {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in pins}


@pytest.fixture(scope="module")
def direct() -> list[Requirement]:
    tree = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = tree["project"]["optional-dependencies"].values()
    texts = [
        *tree["project"]["dependencies"],
        *tree["build-system"]["requires"],
        *(t for extra in extras for t in extra),
    ]
    return [requirement for requirement in map(Requirement, texts) if requirement.name != "reasonembed-rag"]


def test_every_direct_dependency_is_pinned_and_nothing_else(pinned, direct):
    assert set(pinned) == {canonicalize_name(requirement.name) for requirement in direct}


def test_every_pin_is_a_version_that_pyproject_allows(pinned, direct):
    for requirement in direct:
        assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)]), requirement


def test_torch_is_the_agreed_one(pinned):
    assert pinned["torch"] == "2.13.0"
