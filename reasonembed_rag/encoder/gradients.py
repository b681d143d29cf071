"""Gradients of document vectors with respect to their tokens, for attacks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from reasonembed_rag.backbone import EncoderSettings, finish, load_model
from reasonembed_rag.encoder.local import padded_forward
from reasonembed_rag.errors import InputError, ModelError
from reasonembed_rag.files import check_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from reasonembed_rag.backbone import LoadedModel, Tokens
    from reasonembed_rag.spec import EmbeddingSpec

    Run = Callable[[Tokens], NDArray[np.float32]]
    """The encoder's forward from tokens to vectors (n, D)."""

__all__ = ["EncoderGradients", "load_gradients"]


class EncoderGradients:
    """Documents of one encoder as tokens: their ids, texts, vectors and first-order gains.

    Vectors come from the encoder's engine and never enter its cache; gradients from transformers' forward, one text at
    a time.
    """

    def __init__(self, loaded: LoadedModel, run: Run) -> None:
        self._loaded = loaded
        self._run = run
        self._forward = padded_forward(loaded)
        self._usable = loaded.tokenizer.round_trip_ids()

    def tokens(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Return the token ids of each text within a document, template and special tokens excluded."""
        tokens = self._tokenized(texts)
        sequences = tokens.rows(np.arange(len(texts)))
        return [ids[span] for ids, span in zip(sequences, self._spans(tokens), strict=True)]

    def texts(self, tokens: Sequence[NDArray[np.int32]]) -> list[str]:
        """Return the texts of token ids; tokenising a text again may give other ids."""
        texts = self._loaded.tokenizer.decode(tokens)
        before, _ = self._loaded.spec.document_affixes()
        return [text.lstrip(" ") for text in texts] if before.endswith(" ") else texts

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors (n, D) of encode_documents for these texts, up to rounding."""
        return self._run(self._tokenized(texts))

    def gains(self, text: str, *, place: int, direction: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return (V,) how much the inner product of `direction` (D,) with the text's vector rises per token at `place`.

        To first order, up to a term common to all tokens: W_emb times the gradient at that position. Tokens that do not
        survive decoding and tokenising are -inf. Raises InputError for a position outside the text.
        """
        tokens = self._tokenized([text])
        span = self._spans(tokens)[0]
        if not 0 <= place < span.stop - span.start:
            raise InputError(
                f"place is {place}; want one of the text's {max(0, span.stop - span.start)} tokens, from 0"
            )
        gradient_E = self._gradient(tokens, direction)[span.start + place]
        table = cast("nn.Embedding", self._loaded.backbone.get_input_embeddings())
        gains_V: NDArray[np.float32] = (table.weight @ gradient_E.to(table.weight.dtype)).float().cpu().numpy()
        gains_V[len(self._usable) :] = -np.inf  # padding rows of the table
        gains_V[: len(self._usable)][~self._usable] = -np.inf
        return gains_V

    def _gradient(self, tokens: Tokens, direction: NDArray[np.floating]) -> Tensor:
        """Return the gradient (L, E) with respect to the embeddings of all tokens of one text."""
        spec = self._loaded.spec
        leaves: list[Tensor] = []

        def detach(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
            leaves.append(output.detach().requires_grad_())
            return leaves[-1]

        hook = self._loaded.backbone.get_input_embeddings().register_forward_hook(detach)
        try:
            with torch.enable_grad():
                skip = 0 if spec.pool_prompt else tokens.skip
                pooled = self._forward(tokens.rows(np.arange(1)), skip=skip)
                vector_D = finish(pooled, dimension=spec.dimension, normalize=spec.normalize)[0]
                wanted_D = torch.from_numpy(direction.astype(np.float32)).to(vector_D.device)
                (gradient,) = torch.autograd.grad(vector_D @ wanted_D, leaves)
        finally:
            hook.remove()
        return gradient.reshape(-1, gradient.shape[-1])

    def _tokenized(self, texts: Sequence[str]) -> Tokens:
        spec = self._loaded.spec
        before, after = spec.document_affixes()
        checked = check_texts(texts, kind="texts", allow_empty=True)
        return self._loaded.tokenizer(checked, before=before, after=after, max_length=spec.max_document_length)

    def _spans(self, tokens: Tokens) -> list[slice]:
        before, after = self._loaded.spec.document_affixes()
        return self._loaded.tokenizer.text_spans(tokens, before=before, after=after)


def load_gradients(spec: EmbeddingSpec, *, device: str, run: Run) -> EncoderGradients:
    """Load the model of a spec again, for its gradients; raises ModelError if its files have changed."""
    settings = EncoderSettings(
        model=spec.model,
        revision=spec.revision,
        adapter=spec.adapter,
        device=device,
        dtype=spec.dtype,
        max_query_length=spec.max_query_length,
        max_document_length=spec.max_document_length,
        truncate_dim=spec.dimension,
    )
    loaded = load_model(settings)
    if loaded.spec.weights != spec.weights:
        raise ModelError(f"{spec.model}: its files have changed since the encoder was loaded; load the encoder again")
    return EncoderGradients(replace(loaded, spec=spec), run)
