"""A model folder as the graph room takes it, and sequences of token ids to embed."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from importlib.util import find_spec

import numpy as np
import pytest

from reasonembed_rag.graph import EncoderWeights
from reasonembed_rag.spec import EmbeddingSpec

collect_ignore_glob = [] if find_spec("onnx") and find_spec("onnxruntime") else ["test_*.py"]


@pytest.fixture
def weights_of(sequences):
    """Return the weights of a model folder: weights_of(folder, pooling="cls")."""
    from safetensors.numpy import load_file

    def make(folder, **changes):
        config = json.loads((folder / "config.json").read_text())
        spec = EmbeddingSpec(
            model=str(folder),
            pooling="mean",
            attention="bidirectional",
            max_query_length=128,
            max_document_length=128,
            dimension=config.get("hidden_size") or config["dim"],
        )
        path = folder / "model.safetensors"
        return EncoderWeights(
            config=config,
            tensors=lambda: load_file(path),
            digest=hashlib.sha256(path.read_bytes()).hexdigest(),
            spec=dataclasses.replace(spec, **changes),
            pad_id=config.get("pad_token_id") or 0,
            folder=folder,
            sample=lambda: sequences,
            typical=lambda: sequences,
        )

    return make


@pytest.fixture
def sequences():
    """Return token ids of many lengths, longer than a short attention window among them."""
    generator = np.random.default_rng(0)
    return [generator.integers(4, 200, size, dtype=np.int32) for size in (1, 2, 5, 17, 18, 40, 90, 91)]


@pytest.fixture
def embed():
    """Return the vectors of sequences by an engine, all in one pack: embed(engine, sequences)."""
    from reasonembed_rag.backbone import Tokens

    def run(engine, sequences, *, skip=0):
        offsets = np.cumsum([0, *map(len, sequences)])
        tokens = Tokens(np.concatenate(sequences), offsets.astype(np.int64), 0, skip=skip)
        parts = list(engine.run(tokens, [np.argsort(-tokens.lengths, kind="stable")], adapter=None))
        vectors = np.empty((len(sequences), parts[0].vectors.shape[1]), np.float32)
        for rows, part in parts:
            vectors[rows] = part
        return vectors

    return run
