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
    "pip install openvino onnx sentencepiece"
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


def flag_embedding(
    folder: Path, prompt: str | None, *, decoder: bool, device: str = "cpu", dtype: str = "float32"
) -> Encode:
    from FlagEmbedding import FlagLLMModel, FlagModel

    short = {"use_fp16": False, "use_bf16": dtype == "bfloat16"}
    common = {**short, "devices": device, "normalize_embeddings": True}
    if decoder:
        model = FlagLLMModel(str(folder), **common, passage_max_length=1024, pooling_method="last_token")
        return lambda texts: model.encode_corpus([(prompt or "") + text for text in texts])
    model = FlagModel(str(folder), **common, pooling_method="mean", passage_max_length=256)
    encode: Encode = model.encode_corpus
    return encode


def vllm(folder: Path, *, dtype: str) -> Any:
    """Load a model with vLLM for pooling."""
    from vllm import LLM

    return LLM(model=str(folder), runner="pooling", dtype=dtype, max_model_len=1024, enforce_eager=True)


def vllm_encode(llm: Any, prompt: str | None) -> Encode:
    return lambda texts: [out.outputs.embedding for out in llm.embed([(prompt or "") + text for text in texts])]


def openvino_bert(folder: Path, *, precision: str, longest: int) -> Encode:
    """Return plain OpenVINO at its fastest here: converted from torch, sorted by length, small batches."""
    import openvino
    import torch

    model, example = _traced(folder)
    with torch.inference_mode():
        converted = openvino.convert_model(model, example_input=example)
    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision}
    compiled = openvino.Core().compile_model(converted, "CPU", hints)
    return _sorted_mean(folder, lambda inputs: compiled(inputs)[0], names=list(example), longest=longest)


def onnx_bert(folder: Path, work: Path, *, int8: bool, longest: int) -> Encode:
    """Return plain ONNX Runtime at its fastest here: exported by torch, fused by its optimizer, sorted, small batches.

    int8 is its dynamic quantisation with one scale per channel, every product included. The graphs are kept in `work`.
    """
    import onnxruntime
    import torch
    from onnx import TensorProto
    from onnxruntime.quantization import quantize_dynamic
    from onnxruntime.transformers.optimizer import optimize_model

    model, example = _traced(folder)
    config = model.model.config
    work.mkdir(parents=True, exist_ok=True)
    exported, fused, quantised = (work / f"{folder.name}-{name}.onnx" for name in ("exported", "fused", "int8"))
    axes = {name: {0: "batch", 1: "tokens"} for name in (*example, "states")}
    with torch.inference_mode():
        torch.onnx.export(
            model, (example,), str(exported), input_names=list(example), output_names=["states"],
            dynamic_axes=axes, opset_version=17, dynamo=False,
        )  # fmt: skip
    heads, width = config.num_attention_heads, config.hidden_size
    optimize_model(str(exported), "bert", num_heads=heads, hidden_size=width).save_model_to_file(str(fused))
    if int8:
        unknown = {"DefaultTensorType": TensorProto.FLOAT}  # fused operators have no shape inference
        quantize_dynamic(fused, quantised, per_channel=True, extra_options=unknown)
    session = onnxruntime.InferenceSession(str(quantised if int8 else fused), providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]
    return _sorted_mean(folder, lambda inputs: session.run(None, inputs)[0], names=names, longest=longest)


def _traced(folder: Path) -> tuple[Any, dict[str, Any]]:
    """Return a model that returns its last state, and inputs to trace it with."""
    from transformers import AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    given = AutoTokenizer.from_pretrained(folder)(["a b", "c"], padding=True, return_tensors="pt")
    names = ("input_ids", "attention_mask", "token_type_ids")  # as forward takes them
    return _LastState(model), {name: given[name] for name in names if name in given}


def _sorted_mean(folder: Path, run: Callable[[dict[str, Any]], Any], *, names: list[str], longest: int) -> Encode:
    """Return a function that sorts by length, runs batches of four, and pools by the mean."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)

    def encode(texts: list[str]) -> np.ndarray:
        ids = tokenizer(texts, truncation=True, max_length=longest)["input_ids"]
        order = sorted(range(len(ids)), key=lambda row: -len(ids[row]))
        vectors: list[Any] = [None] * len(texts)
        for start in range(0, len(order), 4):
            rows = order[start : start + 4]
            batch = tokenizer.pad({"input_ids": [ids[row] for row in rows]}, return_tensors="np")
            mask = batch["attention_mask"]
            inputs = {"input_ids": batch["input_ids"], "attention_mask": mask, "token_type_ids": np.zeros_like(mask)}
            hidden = run({name: inputs[name] for name in names})
            mean = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
            for row, vector in zip(rows, mean / np.linalg.norm(mean, axis=1, keepdims=True), strict=True):
                vectors[row] = vector
        return np.asarray(vectors, dtype=np.float32)

    return encode


def _LastState(model: Any) -> Any:
    import torch

    class LastState(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any = None) -> Any:
            kinds = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
            return self.model(input_ids=input_ids, attention_mask=attention_mask, **kinds).last_hidden_state

    return LastState()
