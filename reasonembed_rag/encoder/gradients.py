"""An encoder's documents seen token by token, with gradients: which word put where would draw a vector where."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from reasonembed_rag.backbone import EncoderSettings, PaddedForward, finish, load_model
from reasonembed_rag.errors import InputError, ModelError
from reasonembed_rag.files import check_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from reasonembed_rag.backbone import LoadedModel, Tokens
    from reasonembed_rag.spec import EmbeddingSpec

    Run = Callable[[Tokens], NDArray[np.float32]]
    """The engine's own way from tokens to vectors (n, D)."""

__all__ = ["TokenGradients", "load_gradients"]


class TokenGradients:
    """Documents of one encoder as tokens: their ids, texts, vectors and first-order gains.

    Vectors come from the engine and never enter its cache; gradients from transformers' own forward, at one text.
    """

    def __init__(self, loaded: LoadedModel, run: Run) -> None:
        self._loaded = loaded
        self._run = run
        self._forward = PaddedForward(
            loaded.backbone, pooling=loaded.spec.pooling, pad_id=loaded.pad_id, own_mask=loaded.needs_own_mask
        )
        self._writable = loaded.tokenizer.writable()

    def tokens(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Return each text's own token ids as they stand in a document, template and special tokens left out."""
        tokens = self._tokenized(texts)
        sequences = tokens.rows(np.arange(len(texts)))
        return [ids[own] for ids, own in zip(sequences, self._own(tokens), strict=True)]

    def texts(self, tokens: Sequence[NDArray[np.int32]]) -> list[str]:
        """Return what own token ids say; tokenised again, a text need not give the same ids."""
        texts = self._loaded.tokenizer.decoded(tokens)
        before, _ = self._loaded.spec.document_affixes()
        return [text.lstrip(" ") for text in texts] if before.endswith(" ") else texts

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors (n, D) that encode_documents gives these texts, up to rounding."""
        return self._run(self._tokenized(texts))

    def gains(self, text: str, *, place: int, direction: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return (V,) how much `direction` (D,) times the text's vector rises with each token put at `place`.

        To first order, up to a term common to all tokens: W_emb times the gradient at that place. Tokens that no text
        can be made of are -inf. Raises InputError for a place that the text has not.
        """
        tokens = self._tokenized([text])
        own = self._own(tokens)[0]
        if not 0 <= place < own.stop - own.start:
            raise InputError(f"place is {place}; want one of the text's {max(0, own.stop - own.start)} tokens, from 0")
        gradient_E = self._gradient(tokens, direction)[own.start + place]
        table = cast("nn.Embedding", self._loaded.backbone.get_input_embeddings())
        gains_V: NDArray[np.float32] = (table.weight @ gradient_E.to(table.weight.dtype)).float().cpu().numpy()
        gains_V[len(self._writable) :] = -np.inf  # rows that pad the table
        gains_V[: len(self._writable)][~self._writable] = -np.inf
        return gains_V

    def _gradient(self, tokens: Tokens, direction: NDArray[np.floating]) -> Tensor:
        """Return the gradient (L, E) with respect to the embeddings of all tokens of one text."""
        spec = self._loaded.spec
        leaves: list[Tensor] = []

        def cut(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
            leaves.append(output.detach().requires_grad_())
            return leaves[-1]

        hook = self._loaded.backbone.get_input_embeddings().register_forward_hook(cut)
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

    def _own(self, tokens: Tokens) -> list[slice]:
        before, after = self._loaded.spec.document_affixes()
        return self._loaded.tokenizer.own_places(tokens, before=before, after=after)


def load_gradients(spec: EmbeddingSpec, *, device: str, run: Run) -> TokenGradients:
    """Load the model that a spec describes once more, for its gradients; raises ModelError where its files changed."""
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
        raise ModelError(f"{spec.model}: its files are no longer those the encoder was made of; make the encoder again")
    return TokenGradients(replace(loaded, spec=spec), run)
