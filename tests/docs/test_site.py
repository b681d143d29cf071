"""The documentation builds as a site that asks nothing of the network and shows every public name."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pages_of_docs import ROOT

pytest.importorskip("mkdocstrings", reason="the extra docs is not installed")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build as `make docs` does; --strict fails at a page in no menu, and at a link or an anchor to nothing."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def test_no_page_loads_anything_from_elsewhere(site: Path):
    loading = re.compile(r"""<(?:link|script|img|iframe)\b[^>]*?\b(?:href|src)=["']?(?:https?:)?//[^>]*>""")
    pages = list(site.rglob("*.html"))
    assert len(pages) > 80
    assert {page.name: loading.findall(page.read_text()) for page in pages if loading.search(page.read_text())} == {}
    styles = [path for path in site.rglob("*.css") if re.search(r"url\([\"']?(?:https?:)?//", path.read_text())]
    assert styles == []
    # with a forge's address the theme's script asks it for the number of stars
    assert 'data-md-component="source"' not in (site / "index.html").read_text()


def _faces() -> list[tuple[str, list[str]]]:
    found = []
    for home in (ROOT / "reasonembed_rag", ROOT / "integrations", ROOT / "training"):
        for path in home.rglob("__init__.py"):
            text = path.read_text()
            if "lazy_face(" not in text:
                continue
            base = ROOT if home.name == "reasonembed_rag" else home
            assigned = [node for node in ast.parse(text).body if isinstance(node, ast.Assign)]
            (names,) = [ast.literal_eval(node.value) for node in assigned if ast.unparse(node.targets[0]) == "__all__"]
            found.append((".".join(path.parent.relative_to(base).parts), names))
    return found


def test_the_reference_has_every_public_name_of_every_face(site: Path):
    faces = _faces()
    assert len(faces) > 25
    missing = []
    for face, names in faces:
        page = (site / "reference" / f"{face}.html").read_text()
        missing += [f"{face}.{name}" for name in names if f'id="{face}.{name}"' not in page and name != "__version__"]
    assert missing == []
