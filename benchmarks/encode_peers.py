"""The peers of benchmarks/encode.py, each as one function from texts to vectors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Encode = Callable[[list[str]], Any]

INSTALL = (
    "pip install --no-deps FlagEmbedding==1.4.2 langchain-huggingface==1.2.3 "
    "llama-index-embeddings-huggingface==0.8.0; "
    "pip install openvino sentencepiece"
)


def sentence_transformers(folder: Path, *, dtype: str, device: str) -> Any:
    """Load a model with sentence-transformers in a dtype."""
    import torch
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device=device, model_kwargs={"dtype": getattr(torch, dtype)})


def st_encode(model: Any, *, batch_size: int, prompt: str | None) -> Encode:
    return lambda texts: model.encode(texts, batch_size=batch_size, prompt=prompt, show_progress_bar=False)


def langchain(folder: Path, prompt: str | None) -> Encode:
    from langchain_huggingface import HuggingFaceEmbeddings

    kwargs = {"prompt": prompt} if prompt else {}
    model = HuggingFaceEmbeddings(model_name=str(folder), encode_kwargs=kwargs)
    return model.embed_documents


def llama_index(folder: Path, prompt: str | None) -> Encode:
    from llama_index.embeddings.huggingface import HuggingFaceEmbedding

    model = HuggingFaceEmbedding(model_name=str(folder), text_instruction=prompt, device="cpu")
    return model.get_text_embedding_batch


def flag_embedding(folder: Path, prompt: str | None, *, decoder: bool) -> Encode:
    from FlagEmbedding import FlagLLMModel, FlagModel

    common = {"use_fp16": False, "devices": "cpu", "normalize_embeddings": True}
    if decoder:
        model = FlagLLMModel(str(folder), **common, passage_max_length=1024, pooling_method="last_token")
        return lambda texts: model.encode_corpus([(prompt or "") + text for text in texts])
    model = FlagModel(str(folder), **common, pooling_method="mean", passage_max_length=256)
    encode: Encode = model.encode_corpus
    return encode


def openvino_bert(folder: Path) -> Encode:
    """Return plain OpenVINO at its fastest here: converted from torch, sorted by length, small batches."""
    import openvino
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    example = dict(tokenizer(["a b", "c"], padding=True, return_tensors="pt"))
    with torch.inference_mode():
        converted = openvino.convert_model(_LastState(model), example_input=example)
    compiled = openvino.Core().compile_model(converted, "CPU", {"PERFORMANCE_HINT": "LATENCY"})

    def encode(texts: list[str]) -> np.ndarray:
        ids = tokenizer(texts, truncation=True, max_length=256)["input_ids"]
        order = sorted(range(len(ids)), key=lambda row: -len(ids[row]))
        vectors = np.empty((len(texts), model.config.hidden_size), dtype=np.float32)
        for start in range(0, len(order), 4):
            rows = order[start : start + 4]
            batch = tokenizer.pad({"input_ids": [ids[row] for row in rows]}, return_tensors="np")
            mask = batch["attention_mask"]
            inputs = {"input_ids": batch["input_ids"], "attention_mask": mask, "token_type_ids": np.zeros_like(mask)}
            hidden = compiled(inputs)[0]
            mean = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
            vectors[rows] = mean / np.linalg.norm(mean, axis=1, keepdims=True)
        return vectors

    return encode


def _LastState(model: Any) -> Any:
    import torch

    class LastState(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any, token_type_ids: Any, attention_mask: Any) -> Any:
            inputs = {"input_ids": input_ids, "token_type_ids": token_type_ids, "attention_mask": attention_mask}
            return self.model(**inputs).last_hidden_state

    return LastState()
