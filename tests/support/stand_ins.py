"""The stand-in of each page of the documentation that needs one."""

from __future__ import annotations

import pytest
import stand_ins_data as data
import stand_ins_models as models
from stand_in import Maker

LOOPBACK = [pytest.mark.loopback]

STAND_INS = {
    "docs/guide/deploy.md": Maker(models.served, models.check_served, marks=LOOPBACK),
    "docs/guide/encoder.md": Maker(models.adapters, models.check_encoder),
    "docs/guide/evaluation.md": Maker(data.evaluation, data.check_evaluation),
    "docs/guide/files.md": Maker(check=data.check_files),
    "docs/guide/indexing.md": Maker(data.folders, data.check_indexing),
    "docs/guide/langchain.md": Maker(data.langchain_chat, data.check_langchain),
    "docs/guide/latent-memory.md": Maker(models.latent, models.check_latent),
    "docs/guide/llama-index.md": Maker(data.llama, modes=("script", "notebook")),
    "docs/guide/llm.md": Maker(models.chat_server, models.check_llm, marks=LOOPBACK),
    "docs/guide/query-expansion.md": Maker(
        models.chat_server, models.check_expansion, modes=("script",), marks=LOOPBACK
    ),
    "docs/guide/remixer.md": Maker(models.remixer, models.check_remixer),
    "docs/guide/rerankers.md": Maker(models.rerankers, models.check_rerankers),
    "docs/guide/robustness.md": Maker(data.judged, data.check_robustness),
    "docs/guide/scale.md": Maker(data.database, data.check_scale, modes=("script",)),
    "docs/guide/stores.md": Maker(check=data.check_stores, modes=("script",)),
    "docs/guide/training.md": Maker(models.trained, models.check_trained),
    "docs/how-to/from-faiss-and-chroma.md": Maker(data.old_stores, data.check_old_stores, modes=("script",)),
    "docs/how-to/from-huggingface-embeddings.md": Maker(data.minilm),
    "docs/how-to/from-sentence-transformers.md": Maker(data.minilm),
    "reasonembed_rag/default/README.md": Maker(models.model_card, models.check_card),
    "reasonembed_rag/default_large/README.md": Maker(models.model_card, models.check_card),
}
"""Pages without one run as they are, as scripts, and print the same twice."""
