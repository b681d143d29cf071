"""Count the project: files, lines, public names and names that occur twice, room by room, for one checkout or several.

python .ci/house.py [CHECKOUT ...]
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

HOMES = ("reasonembed_rag", "integrations", "training")


def sources(root: Path) -> Iterator[Path]:
    """Yield the project's modules, without tests and benchmarks."""
    for home in HOMES:
        yield from sorted(path for path in (root / home).rglob("*.py"))


def public_names(path: Path) -> set[str]:
    """Return the classes, functions and values that a module defines and lists in `__all__`."""
    defined: set[str] = set()
    listed: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        match node:
            case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                defined.add(node.name)
            case ast.Assign(targets=[ast.Name(id="__all__")], value=ast.List() | ast.Tuple() as names):
                listed = set(ast.literal_eval(names))
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                defined.add(name)
    return listed & defined


def room_of(path: Path) -> str:
    """Return the folder that a module is in; the frameworks' namespace packages count as one."""
    return "integrations/llama_index" if "llama_index" in path.parts else path.parent.as_posix()


def figures(root: Path) -> dict[str, str]:
    """Return what is counted of a checkout, as text."""
    paths = list(sources(root))
    modules = [path for path in paths if path.stem != "__init__"]
    lines = {path: path.read_text(encoding="utf-8").count("\n") for path in paths}
    stems = Counter(path.stem for path in modules if path.stem != "base")
    names = Counter(name for path in modules for name in public_names(path))
    twice = sorted(name for name, count in names.items() if count > 1)
    table = {
        "files": f"{len(modules)}",
        "of them under 60 lines": f"{sum(lines[path] < 60 for path in modules)}",
        "of them over 300 lines": f"{sum(lines[path] > 300 for path in modules)}",
        "lines": f"{sum(lines.values()):,}",
        "public names": f"{len(names):,}",
        "public names defined twice or more": f"{len(twice)}",
        "base names of files used twice or more": f"{sum(count > 1 for count in stems.values())}",
    }
    rooms: dict[str, list[int]] = {}
    for path in paths:
        entry = rooms.setdefault(room_of(path.relative_to(root)), [0, 0])
        entry[0] += path.stem != "__init__"
        entry[1] += lines[path]
    return table | {f"{room}/": f"{files} files, {count:,} lines" for room, (files, count) in sorted(rooms.items())}


def main() -> None:
    """Print a table, one column a checkout."""
    roots = [Path(name) for name in sys.argv[1:]] or [Path(__file__).resolve().parents[1]]
    columns = [figures(root) for root in roots]
    names = dict.fromkeys(name for column in columns for name in column)
    rows = [["", *(root.name for root in roots)], ["---"] * (len(roots) + 1)]
    rows += [[name, *(column.get(name, "") for column in columns)] for name in names]
    sys.stdout.write("".join(f"| {' | '.join(row)} |\n" for row in rows))


if __name__ == "__main__":
    main()
