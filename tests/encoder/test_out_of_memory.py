"""Running out of memory, with a fake allocator: packs are split, results kept, the safe size remembered."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from reasonembed_rag import Encoder
from reasonembed_rag.errors import BackendError

TEXTS = [f"dog {row} " * (row % 7 + 1) for row in range(60)]
ERRORS = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes"),
]


class Small:
    """Memory for a number of tokens at a time, around an encoder's forward; records the texts that passed."""

    def __init__(self, encoder, tokens, error):
        self.forward, self.tokens, self.error = encoder._engine._pooled, tokens, error
        self.done, self.failures = [], 0
        encoder._engine._pooled = self

    def __call__(self, sequences, *rest):
        if sum(map(len, sequences)) > self.tokens:
            self.failures += 1
            raise self.error
        self.done += [sequence.tobytes() for sequence in sequences]
        return self.forward(sequences, *rest)


@pytest.fixture(scope="module")
def folder(tiny_model):
    return tiny_model("qwen3")


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("role", ["documents", "queries"])
def test_a_call_continues_with_smaller_packs_and_computes_nothing_twice(folder, error, role, caplog):
    plain, encoder = Encoder.from_pretrained(folder), Encoder.from_pretrained(folder)
    expected = getattr(plain, f"encode_{role}")(TEXTS)
    caplog.clear()
    memory = Small(encoder, 90, error)
    got = getattr(encoder, f"encode_{role}")(TEXTS)
    assert np.abs(got - expected).max() < 1e-5
    assert len(memory.done) == len(set(memory.done)) == len(TEXTS)
    assert memory.failures == len([1 for text in caplog.messages if "memory" in text]) < 8
    failures = memory.failures
    encoder.encode_documents([text + "!" for text in TEXTS])
    assert memory.failures == failures  # the safe size is remembered over calls


def test_one_text_that_does_not_fit_alone_is_an_error_with_the_cure_and_the_next_call_works(folder):
    encoder = Encoder.from_pretrained(folder)
    Small(encoder, 30, MemoryError())
    with pytest.raises(BackendError, match=r"\b\d+ tokens\b.*\bmemory\b.*\bmax_document_length\b"):
        encoder.encode_documents(["the fox", "lazy dog " * 40])
    assert encoder.encode_documents(["the fox"]).shape == (1, 64)
