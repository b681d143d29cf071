"""Record vectors of the default models by transformers, against which their graphs are checked without it.

    python .ci/record_vectors.py

Run it after a default model is trained anew: reasonembed_rag/graph/recorded_vectors.json is written again.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import torch

from reasonembed_rag.backbone import OWN_MODELS, EncoderSettings, PaddedForward, find_source, load_model
from reasonembed_rag.files import write_text

TEXTS = (
    "why?",
    "Default parameter values are evaluated once, when the function definition is executed; a list keeps growing.",
    "日本語 and code:\n\tdef f(x=[]): ...",
)


def recorded(name: str) -> tuple[str, dict[str, object]]:
    """Return the fingerprint of a model's weights, and ids with their vectors in base64 of 16-bit floats."""
    settings = EncoderSettings(model=name, backend="torch", device="cpu", dtype="float32")
    loaded = load_model(settings, find_source(settings))
    tokens = loaded.tokenizer(TEXTS, before="", after="", max_length=loaded.spec.max_document_length)
    sequences = tokens.rows(np.arange(len(TEXTS)))
    forward = PaddedForward(loaded.backbone, pooling=loaded.spec.pooling, pad_id=loaded.pad_id, own_mask=False)
    with torch.inference_mode():
        pooled = torch.cat([forward([ids]) for ids in sequences])
    unit = torch.nn.functional.normalize(pooled, dim=1).numpy().astype(np.float16)
    ids = [sequence.tolist() for sequence in sequences]
    return str(loaded.spec.weights), {"model": name, "ids": ids, "vectors": base64.b64encode(unit.tobytes()).decode()}


def main() -> None:
    """Write the file."""
    path = Path(__file__).parents[1] / "reasonembed_rag" / "graph" / "recorded_vectors.json"
    write_text(json.dumps(dict(recorded(name) for name in OWN_MODELS)) + "\n", path)


if __name__ == "__main__":
    main()
