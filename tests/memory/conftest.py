"""The tiny latent model under a short name."""

from __future__ import annotations

import pytest

from reasonembed_rag.memory import LatentEncoder


@pytest.fixture(scope="session")
def encoder(latent_encoder) -> LatentEncoder:
    """The latent model loaded for inference."""
    return latent_encoder
