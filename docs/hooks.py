"""What the site shows beside the files of docs/: other pages of the repository, and a reference of every face."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
HOMES = ("reasonembed_rag", "integrations", "training/reasonembed_training")
OUTSIDE = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "README.md": "index.md",
    "examples/README.md": "examples.md",
    "reasonembed_rag/default/README.md": "models/default.md",
    "reasonembed_rag/default_large/README.md": "models/default_large.md",
}
"""Pages of the repository outside docs/, and their places on the site, whose home page stands for the README."""

GROUPS = {
    "Core": ["reasonembed_rag"],
    "LangChain, LlamaIndex": ["langchain_reasonembed", "llama_index"],
    "Files, stores, server": ["reasonembed_readers", "reasonembed_stores", "reasonembed_server"],
    "Training": ["reasonembed_training"],
}
"""The menus of the reference: the packages of each."""


def faces() -> list[str]:
    """Return the packages that offer public names, by their dotted paths."""
    found = []
    for home in HOMES:
        for path in sorted((ROOT / home).rglob("__init__.py")):
            parts = path.parent.relative_to(ROOT).parts
            if "lazy_face(" in path.read_text(encoding="utf-8"):
                found.append(".".join(parts[1:] if parts[0] in {"integrations", "training"} else parts))
    return found


def on_config(config: Any) -> Any:
    """Fill in the parts of the navigation that list a whole folder."""
    config.nav = _filled(config.nav)
    return config


def _reference(top: str) -> list[dict[str, str]]:
    """Return the pages of a package's faces, by names short enough for a menu."""
    own = [name for name in faces() if name.split(".")[0] == top]
    short = {name: name.removeprefix("reasonembed_rag.").removesuffix(".reasonembed") for name in own}
    return [{short[name].removeprefix("reasonembed_training."): f"reference/{name}.md"} for name in own]


def _filled(entry: Any) -> Any:
    if isinstance(entry, dict):
        return {title: _filled(inner) for title, inner in entry.items()}
    if isinstance(entry, list):
        return [filled for inner in entry for filled in _entries(inner)]
    return entry


def _entries(entry: Any) -> list[Any]:
    if not isinstance(entry, str) or not entry.endswith("/*"):
        return [_filled(entry)]
    folder = entry.removesuffix("/*")
    if folder == "reference":
        return [{group: [page for top in tops for page in _reference(top)]} for group, tops in GROUPS.items()]
    names = sorted(path.name for path in (ROOT / "docs" / folder).glob("*.md"))
    return [f"{folder}/{name}" for name in sorted(names, key=lambda name: name != "README.md")]


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that no file of docs/ holds."""
    for source, place in OUTSIDE.items():
        if place != "index.md":
            files.append(File.generated(config, place, content=(ROOT / source).read_text(encoding="utf-8")))
    for name in faces():
        files.append(File.generated(config, f"reference/{name}.md", content=f"::: {name}\n"))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:  # noqa: ARG001
    """Turn links to files of the repository into links within the site, or to the forge."""
    place = page.file.src_uri
    sources = {target: source for source, target in OUTSIDE.items() if target != "index.md"}
    here = (ROOT / sources.get(place, f"docs/{place}")).parent

    def resolved(link: str) -> str:
        target, _, anchor = link.partition("#")
        if not target or re.match(r"[a-z]+:", target):
            return link
        path = os.path.relpath((here / target).resolve(), ROOT)
        inside = OUTSIDE.get(path, path.removeprefix("docs/") if path.startswith("docs/") else None)
        if inside is None or not inside.endswith((".md", ".svg", ".png")):
            return f"{config.extra['social'][0]['link']}/blob/main/{path}"
        return os.path.relpath(inside, Path(place).parent) + ("#" + anchor if anchor else "")

    markdown = re.sub(r"(\]\()([^)\s]+)(\))", lambda found: found[1] + resolved(found[2]) + found[3], markdown)
    return re.sub(r"^(\[[^]]+\]: )(\S+)$", lambda found: found[1] + resolved(found[2]), markdown, flags=re.MULTILINE)
