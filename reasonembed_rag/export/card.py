"""The model card of an exported folder, with licences and origin, and the notes for llama.cpp."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from reasonembed_rag.backbone import EncoderSettings
    from reasonembed_rag.spec import EmbeddingSpec

__all__ = ["gguf_note", "write_card"]

_FRONT = "---\n"
_LICENCES = ("LICENSE*", "LICENCE*", "NOTICE*")


def write_card(
    settings: EncoderSettings,
    spec: EmbeddingSpec,
    folders: Sequence[Path],
    folder: Path,
    *,
    dtype: str,
    truncated: bool,
) -> None:
    """Write README.md, and the cards and licences of what the model was made from, the base first, into origin/."""
    fronts = []
    for number, source in enumerate(folders):
        kept = folder / "origin" / f"{number}-{source.name}"
        card = source / "README.md"
        fronts.append(_front(card))
        for path in [card, *(path for pattern in _LICENCES for path in sorted(source.glob(pattern)))]:
            if path.is_file():
                kept.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, kept / path.name)
    front = {
        "library_name": "sentence-transformers",
        "pipeline_tag": "sentence-similarity",
        **({"license": licence} if (licence := fronts[-1].get("license") or fronts[0].get("license")) else {}),
        **({"base_model": base} if (base := _base(settings, fronts)) else {}),
        "tags": ["sentence-transformers", "feature-extraction", "sentence-similarity", "reasonembed"],
    }
    body = _body(settings, spec, fronts, dtype=dtype, truncated=truncated)
    text = f"{_FRONT}{yaml.safe_dump(front, sort_keys=False)}{_FRONT}\n{body}"
    (folder / "README.md").write_text(text, encoding="utf-8")


def _front(card: Path) -> dict[str, Any]:
    """Return the front matter of a card; {} where there is none that can be read."""
    text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    if not text.startswith(_FRONT):
        return {}
    try:
        found = yaml.safe_load(text[len(_FRONT) :].partition(f"\n{_FRONT}")[0])
    except yaml.YAMLError:
        return {}
    return found if isinstance(found, dict) else {}


def _base(settings: EncoderSettings, fronts: Sequence[dict[str, Any]]) -> str | None:
    named = next((str(front["base_model"]) for front in reversed(fronts) if front.get("base_model")), None)
    return named or (settings.model if settings.model.count("/") == 1 and settings.model[0] not in "./~" else None)


def _body(
    settings: EncoderSettings, spec: EmbeddingSpec, fronts: Sequence[dict[str, Any]], *, dtype: str, truncated: bool
) -> str:
    licences = [str(front.get("license", "not stated")) for front in fronts]
    origin = [
        f"- model: `{settings.model}`" + (f", revision `{settings.revision}`" if settings.revision else ""),
        *([f"- adapter, merged: `{settings.adapter}`"] if settings.adapter else []),
        f"- fingerprint of its weights: `{spec.weights}`",
        f"- licences by their cards, the base first: {', '.join(licences)}",
        "- the cards and licences themselves: `origin/`",
    ]
    query, _ = spec.query_affixes(None)
    document, _ = spec.document_affixes()
    facts = [
        f"- {spec.dimension} dimensions, {spec.pooling} pooling, {'' if spec.normalize else 'not '}normalised",
        f"- {spec.max_query_length} tokens of a query, {spec.max_document_length} of a document, {dtype} weights",
        f"- before a query: {json.dumps(query)}; before a document: {json.dumps(document)}",
    ]
    if truncated and spec.normalize:
        facts.append(
            "- sentence-transformers leaves truncated vectors unnormalised: pass normalize_embeddings=True to encode"
        )
    return "\n".join(
        [
            "# Exported with reasonembed-rag",
            "",
            "The weights have their adapters merged, so that the folder is loaded without PEFT.",
            "",
            "```python",
            "from sentence_transformers import SentenceTransformer",
            "",
            'model = SentenceTransformer("path/to/this/folder", model_kwargs={"dtype": "float32"})',
            "scores = model.similarity(model.encode_query([query]), model.encode_document(documents))",
            "```",
            "",
            "## Settings",
            "",
            *facts,
            "",
            "## Origin",
            "",
            *origin,
            "",
        ]
    )


def gguf_note(spec: EmbeddingSpec, name: str) -> str:
    """Return the commands that turn the folder into a GGUF file and serve it by llama.cpp."""
    query, _ = spec.query_affixes(None)
    document, _ = spec.document_affixes()
    length = max(spec.max_query_length, spec.max_document_length)
    normalise = 2 if spec.normalize else -1
    return f"""# This model in llama.cpp

Run in a checkout of llama.cpp with its Python requirements, `FOLDER` being this folder:

```sh
pip install -r requirements/requirements-convert_hf_to_gguf.txt
python convert_hf_to_gguf.py FOLDER --outfile {name}-f16.gguf --outtype f16
cmake -B build && cmake --build build --config Release --target llama-quantize llama-embedding llama-server
build/bin/llama-quantize {name}-f16.gguf {name}-q8_0.gguf Q8_0
build/bin/llama-embedding -m {name}-f16.gguf --pooling {spec.pooling} --embd-normalize {normalise} -p "{{text}}"
build/bin/llama-server -m {name}-f16.gguf --embedding --pooling {spec.pooling} -c {length} -b {length} -ub {length}
```

llama.cpp adds no prompt: before every query send {json.dumps(query)}, before every document {json.dumps(document)}.
It was not run here: compare a few vectors with those of `Encoder` before you build an index, and quantise to 8 bits
only after that.
"""
