"""Fixtures: a tiny latent model in a folder, with random LoRA."""

from __future__ import annotations

import pytest
import torch

from reasonembed_rag.backbone import EncoderSettings
from reasonembed_rag.memory import LatentEncoder, LatentSettings, create_latent, save_latent


@pytest.fixture(scope="session")
def latent_folder(tiny_model, tmp_path_factory):
    """The folder of a latent model with four latents on a Qwen3 of two layers."""
    backbone = tiny_model("qwen3", tie_word_embeddings=True)
    settings = LatentSettings(latents=4, rank=2)
    latent = create_latent(EncoderSettings(model=str(backbone), max_document_length=128), settings, seed=1)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, one in latent.model.trained().items():
            if name.endswith("/b"):
                one.copy_(torch.randn(one.shape, generator=generator) * 0.3)
    folder = tmp_path_factory.mktemp("latent")
    save_latent(latent, folder)
    return folder


@pytest.fixture(scope="session")
def latent_encoder(latent_folder):
    """The latent model loaded for inference."""
    return LatentEncoder.from_folder(latent_folder)
