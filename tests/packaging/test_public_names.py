"""What `__all__` promises is there."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from types import ModuleType

import pytest

import reasonembed_rag

PACKAGES = ["reasonembed_rag", "reasonembed_cli"]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_name_a_module_lists_is_there(package: str):
    for module in _modules(package):
        missing = [name for name in getattr(module, "__all__", ()) if not hasattr(module, name)]
        assert not missing, f"{module.__name__} lists {missing}"


def _modules(package: str) -> Iterator[ModuleType]:
    top = importlib.import_module(package)
    yield top
    for found in pkgutil.walk_packages(top.__path__, f"{package}."):
        yield importlib.import_module(found.name)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'Encodr'"):
        _ = reasonembed_rag.Encodr
    assert set(dir(reasonembed_rag)) == set(reasonembed_rag.__all__) - {"__version__"}


def test_the_version_is_the_installed_one():
    from importlib.metadata import version

    assert version("reasonembed-rag") == reasonembed_rag.__version__
