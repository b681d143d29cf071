"""Rooms: each package's `__init__` is its face, and nobody reaches behind another's."""

from __future__ import annotations

import ast
import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HOMES = (ROOT, ROOT / "integrations", ROOT / "training")
TOPS = (
    "reasonembed_rag",
    "reasonembed_readers",
    "reasonembed_stores",
    "langchain_reasonembed",
    "reasonembed_cli",
    "reasonembed_server",
    "reasonembed_training",
)


def _module_of(path: Path) -> str:
    home = max((home for home in HOMES if path.is_relative_to(home)), key=lambda home: len(home.parts))
    return ".".join(path.relative_to(home).with_suffix("").parts).removesuffix(".__init__")


def _sources() -> Iterator[Path]:
    for home in HOMES:
        for top in (*TOPS, "llama_index"):
            yield from sorted((home / top).rglob("*.py"))


ROOMS = {_module_of(path): path for path in _sources() if path.name == "__init__.py"}
MODULES = {_module_of(path) for path in _sources()}
FREE = {"reasonembed_rag", "reasonembed_cli"}
"""The core's own modules (errors, hits, protocols, ...) are public as they are; only its tests import the command."""

MIRRORED = {
    "backbone": ["reasonembed_rag.backbone", "reasonembed_rag.encoder"],  # what runs a forward is the encoder's engine
    "stores": ["reasonembed_stores"],
    "server": ["reasonembed_server"],
    "readers": ["reasonembed_readers"],
    "langchain": ["langchain_reasonembed"],
    "llama_index": [name for name in ROOMS if name.startswith("llama_index")],
    "training": ["reasonembed_training", "reasonembed_training.data", "reasonembed_training.datasets"],
    "remixer": ["reasonembed_training.remixer"],
}
"""Which rooms the folders of tests look into, where the names differ."""


def _room_of(module: str) -> str | None:
    return max((room for room in ROOMS if f"{module}.".startswith(f"{room}.")), key=len, default=None)


def _imports(text: str) -> Iterator[str]:
    """Yield the modules that are imported, `from room import module` among them."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in MODULES and name not in ROOMS else node.module for name in inner)


def _reached_behind(text: str, own: set[str | None]) -> list[str]:
    found = {module for module in _imports(text) if module in MODULES and module not in ROOMS}
    return sorted(module for module in found if _room_of(module) not in own | FREE)


def _texts() -> Iterator[tuple[str, str, set[str | None]]]:
    for path in _sources():
        yield str(path.relative_to(ROOT)), path.read_text(), {_room_of(_module_of(path))}
    for path in sorted((ROOT / "benchmarks").glob("*.py")):
        yield str(path.relative_to(ROOT)), path.read_text(), set()
    for path in sorted((ROOT / "tests").rglob("*.py")):
        folder = path.relative_to(ROOT / "tests").parts[0]
        rooms: set[str | None] = {*MIRRORED.get(folder, [f"reasonembed_rag.{folder}"])}
        yield str(path.relative_to(ROOT)), path.read_text(), rooms | {f"{room}.python_reference" for room in rooms}
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        for number, block in enumerate(re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL)):
            yield f"{path.relative_to(ROOT)}, block {number}", block, set()


@pytest.mark.parametrize(("name", "text", "own"), [pytest.param(*case, id=case[0]) for case in _texts()])
def test_no_module_of_another_room_is_imported(name: str, text: str, own: set[str | None]):
    assert _reached_behind(text, own) == []


def _parts_of(room: str) -> tuple[set[str], set[str]]:
    """Return what a face lists in `__all__`, and what it imports for type checkers."""
    listed: set[str] = set()
    typed: set[str] = set()
    for node in ast.walk(ast.parse(ROOMS[room].read_text())):
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            listed = set(ast.literal_eval(node.value))
        elif isinstance(node, ast.If):
            typed = {alias.name for inner in node.body if isinstance(inner, ast.ImportFrom) for alias in inner.names}
    return listed, typed


FACES = sorted(room for room, path in ROOMS.items() if "lazy_face(" in path.read_text())


@pytest.mark.parametrize("room", FACES)
def test_a_face_lists_what_it_imports_for_type_checkers_and_each_name_is_there(room: str):
    listed, typed = _parts_of(room)
    assert listed - {"__version__"} == typed
    face = importlib.import_module(room)
    assert all(getattr(face, name) is not None for name in listed)
    assert set(dir(face)) == typed
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = face.no_such_name


@pytest.mark.parametrize("room", FACES)
def test_no_public_name_of_a_room_hides_one_of_its_modules(room: str):
    assert not {f"{room}.{name}" for name in _parts_of(room)[0]} & MODULES


def test_no_file_is_named_like_a_standard_module():
    named = {path.stem for path in _sources() if path.stem not in {"__init__", "__main__"}}
    assert not named & set(sys.stdlib_module_names)


TWINS = {
    "DefendedRetriever",
    "ReasonEmbedRetriever",
    "ReasonEmbedVectorStore",
    "as_chat",
    "as_retriever",
    "open_chroma",
}
"""The same thing for LangChain and for LlamaIndex, where users of either look for it under this name."""


def _defined(tree: ast.Module) -> Iterator[str]:
    """Yield the names of the classes, functions and aliases or constants that a module defines."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (target.id for target in targets if isinstance(target, ast.Name))


def _listed(tree: ast.Module) -> set[str]:
    lists = [node.value for node in tree.body if isinstance(node, ast.Assign) and _is_all(node)]
    return {name for one in lists for name in ast.literal_eval(one)}


def _is_all(node: ast.Assign) -> bool:
    return getattr(node.targets[0], "id", "") == "__all__"


def _definitions() -> dict[str, set[str]]:
    """Return the modules that define each name and list it in their `__all__`."""
    modules: dict[str, set[str]] = {}
    for path in _sources():
        tree = ast.parse(path.read_text())
        for name in _listed(tree) & set(_defined(tree)):
            modules.setdefault(name, set()).add(_module_of(path))
    return modules


def _are_twins(name: str, modules: list[str]) -> bool:
    tops = [module.split(".")[0] for module in modules]
    return name in TWINS and tops == ["langchain_reasonembed", "llama_index"]


def test_no_public_name_is_defined_twice():
    found = {name: sorted(modules) for name, modules in _definitions().items() if len(modules) > 1}
    assert {name: modules for name, modules in found.items() if not _are_twins(name, modules)} == {}
