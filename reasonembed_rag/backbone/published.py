"""Published checkpoints that are known file by file: in the hub's cache, or downloaded, and checked."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from reasonembed_rag.backbone.checksums import check_sum
from reasonembed_rag.backbone.download import download
from reasonembed_rag.errors import ModelError

__all__ = ["WEIGHTS", "Published"]

WEIGHTS = "model.safetensors"


@dataclass(frozen=True, slots=True)
class Published:
    """A checkpoint on the hub; sums are the SHA-256 of the files that its vectors depend on."""

    hub_id: str
    revision: str | None
    sums: Mapping[str, str]

    def without_weights(self) -> Published:
        """Return the checkpoint's small files alone."""
        return Published(self.hub_id, self.revision, {name: self.sums[name] for name in self.sums if name != WEIGHTS})

    def check(self, folder: Path) -> None:
        """Raise ModelError unless a folder holds the published files."""
        for name, wanted in self.sums.items():
            if not (folder / name).is_file():
                raise ModelError(f"{folder}: has no {name}; delete the folder and load the model again")
            check_sum(folder / name, wanted, source=f"{self.hub_id} at {self.revision or 'its main revision'}")

    def is_complete(self, folder: Path) -> bool:
        """Return whether a folder has a file of each name."""
        return all((folder / name).is_file() for name in self.sums)

    def cached(self) -> Path | None:
        """Return a folder of the hub's cache: that of the pinned revision, or of another one with the same files."""
        from huggingface_hub import constants

        snapshots = Path(constants.HF_HUB_CACHE) / f"models--{self.hub_id.replace('/', '--')}" / "snapshots"
        if self.revision is not None and self.is_complete(snapshots / self.revision):
            return snapshots / self.revision
        for folder in sorted(snapshots.glob("*")):
            with contextlib.suppress(ModelError):  # what another revision changed is no fault
                self.check(folder)
                return folder
        return None

    def downloaded(self) -> Path:
        """Return the folder of the files, downloaded now; raises ModelError if they cannot be had."""
        return download(self.hub_id, revision=self.revision, wanted=list(self.sums))
