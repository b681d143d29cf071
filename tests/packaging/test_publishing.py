"""What a release and a forge read: metadata, versions, workflows, templates."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.metadata import Metadata
from packaging.version import Version

from reasonembed_rag import __version__

ROOT = Path(__file__).resolve().parents[2]
FORGE = ROOT / ".github"
MINORS = ("3.11", "3.12", "3.13", "3.14")


def _yaml(path: Path) -> dict:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def _steps(workflow: str) -> list[dict]:
    jobs = _yaml(FORGE / "workflows" / f"{workflow}.yml")["jobs"].values()
    return [step for job in jobs for step in job["steps"]]


def _metadata_of(archive: Path) -> Metadata:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as opened:
            (name,) = [name for name in opened.namelist() if name.endswith(".dist-info/METADATA")]
            return Metadata.from_email(opened.read(name))
    with tarfile.open(archive) as opened:
        return Metadata.from_email(opened.extractfile(f"{archive.name.removesuffix('.tar.gz')}/PKG-INFO").read())


def test_both_distributions_carry_valid_metadata_and_the_version_of_the_package(sdist: Path, wheel: Path):
    for archive in (sdist, wheel):
        metadata = _metadata_of(archive)
        assert metadata.version == Version(__version__)
        assert metadata.description_content_type == "text/markdown"
        assert metadata.description == (ROOT / "README.md").read_text(encoding="utf-8")
        assert metadata.license_expression == "Apache-2.0"
        assert {f"Programming Language :: Python :: {minor}" for minor in MINORS} <= set(metadata.classifiers)


def test_twine_finds_nothing_wrong_with_either(sdist: Path, wheel: Path):
    done = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", sdist, wheel], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("PASSED") == 2


def test_the_source_distribution_carries_what_it_takes_to_work_on_the_project(sdist: Path):
    with tarfile.open(sdist) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    assert names >= {"Makefile", "constraints.txt", "tests/conftest.py", "docs/index.md", "LICENSE", "CITATION.cff"}
    assert not [name for name in names if "__pycache__" in name or name.startswith((".venv", "runs/", ".git/"))]


def test_the_citation_names_the_version_of_the_package():
    citation = _yaml(ROOT / "CITATION.cff")
    assert (citation["version"], citation["license"]) == (__version__, "Apache-2.0")
    assert {"cff-version", "message", "title", "authors"} <= set(citation)


def test_the_gate_of_the_forge_is_the_projects_own_on_every_supported_python():
    (job,) = _yaml(FORGE / "workflows" / "gate.yml")["jobs"].values()
    assert tuple(job["strategy"]["matrix"]["python"]) == MINORS
    assert [step["run"] for step in _steps("gate") if "run" in step] == [".ci/run"]
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_a_release_is_built_checked_and_published_without_a_token():
    jobs = _yaml(FORGE / "workflows" / "release.yml")["jobs"]
    runs = [step.get("run", "") for step in jobs["build"]["steps"]]
    assert any("python -m build" in run for run in runs)
    assert any("twine check --strict" in run for run in runs)
    assert jobs["publish"]["needs"] == "build"
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert "secrets." not in (FORGE / "workflows" / "release.yml").read_text()


@pytest.mark.parametrize(
    ("tag", "heading", "passes"),
    [
        (f"v{__version__}", f"## {__version__} - 2026-12-01", True),
        (f"v{__version__}", "## Unreleased", False),
        ("v9.9.9", "## 9.9.9 - 2026-12-01", False),
    ],
)
def test_a_release_has_the_tag_of_its_version_and_its_changes_told(tag, heading, passes, tmp_path: Path):
    (check,) = [step["run"] for step in _steps("release") if "GITHUB_REF_NAME" in step.get("run", "")]
    (tmp_path / "CHANGELOG.md").write_text(f"# Changelog\n\n{heading}\n")
    (tmp_path / "reasonembed_rag").symlink_to(ROOT / "reasonembed_rag")
    environment = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "GITHUB_REF_NAME": tag}
    done = subprocess.run(["bash", "-e", "-c", check], cwd=tmp_path, env=environment, check=False)
    assert (done.returncode == 0) is passes


@pytest.mark.parametrize("form", sorted((FORGE / "ISSUE_TEMPLATE").glob("*.yml")), ids=lambda form: form.stem)
def test_an_issue_form_asks_for_something(form: Path):
    shown = _yaml(form)
    if form.stem == "config":
        assert all(link["url"].startswith("https://") for link in shown["contact_links"])
        return
    ids = [part["id"] for part in shown["body"]]
    assert {"name", "description"} <= set(shown)
    assert len(set(ids)) == len(ids) >= 2


def test_the_hooks_before_a_commit_are_local_tools_of_the_environment():
    repositories = _yaml(ROOT / ".pre-commit-config.yaml")["repos"]
    assert [one["repo"] for one in repositories] == ["local"]
    tools = {hook["entry"].split()[0].removeprefix(".venv/bin/") for hook in repositories[0]["hooks"]}
    dev = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["dev"]
    names = {re.split(r"[\[>=]", text)[0] for text in dev}
    assert tools == {"ruff", "mypy", "lint-imports"}
    assert {"ruff", "mypy", "import-linter"} <= names


def test_the_module_of_the_command_is_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "reasonembed_cli", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == __version__
