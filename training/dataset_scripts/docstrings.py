"""The long texts of the default recipe: docstrings of installed packages.

python training/dataset_scripts/docstrings.py FOLDER

Writes FOLDER/documents.jsonl, and the packages with their versions, licences and numbers of texts to
FOLDER/sources.json. A text is the part of a docstring after its summary, without examples; `reasonembed train crop`
makes training rows from them. Python's own library, numpy, scipy, scikit-learn, networkx and sympy are excluded, since
benchmarks/generality.py and the choice of the default model measure on them.
"""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from reasonembed_rag.files import replacing

_PACKAGES = {
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
_EXAMPLES = re.compile(r"^Examples?:*$|>>>|```", re.MULTILINE)
_LEAST_WORDS = 50
_MOST = 300
"""Maximum number of texts of one package, evenly sampled, so that no package dominates."""


def texts(package: str) -> Iterator[tuple[str, str]]:
    """Yield id and text of a package's docstrings, each text once."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        sys.exit(f"{package} is not installed; run this in the environment that `make venv` builds")
    folder = Path(next(iter(spec.submodule_search_locations)))
    seen: set[str] = set()
    for path in sorted(folder.rglob("*.py")):
        inside = path.relative_to(folder)
        if {"tests", "test", "testing", "_vendor"} & set(inside.parts):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8", errors="replace"))):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                _, _, body = (ast.get_docstring(node) or "").partition("\n\n")
                text = _EXAMPLES.split(body, maxsplit=1)[0].strip()
                start = " ".join(text.split()[:12])
                if len(text.split()) >= _LEAST_WORDS and start not in seen:
                    seen.add(start)
                    yield f"{package}/{inside}:{node.name}:{node.lineno}", text


def main(folder: Path) -> None:
    """Write the documents and their sources."""
    sources = []
    with replacing(folder / "documents.jsonl") as file:
        for package, licence in _PACKAGES.items():
            found = list(texts(package))
            kept = min(len(found), _MOST)
            drawn = [found[number * len(found) // kept] for number in range(kept)]
            for name, text in drawn:
                file.write(f"{json.dumps({'id': name, 'content': text}, ensure_ascii=False)}\n".encode())
            version = importlib.metadata.version(_DISTRIBUTIONS.get(package, package.replace("_", "-").lower()))
            sources.append({"package": package, "version": version, "licence": licence, "texts": len(drawn)})
    with replacing(folder / "sources.json") as file:
        file.write(json.dumps(sources, indent=1).encode())
    sys.stdout.write(f"{sum(int(str(source['texts'])) for source in sources)} texts of {len(sources)} packages\n")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python training/dataset_scripts/docstrings.py FOLDER")
    main(Path(sys.argv[1]))
