"""Download the files of a model from the hub into its cache."""

from __future__ import annotations

from pathlib import Path

from reasonembed_rag.errors import ModelError

__all__ = ["download"]


def download(hub_id: str, *, revision: str | None, wanted: list[str]) -> Path:
    """Return the folder of a hub id with the files that match a pattern; raises ModelError if it cannot be had."""
    from httpx import HTTPError
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(hub_id, revision=revision, allow_patterns=wanted))
    except LocalEntryNotFoundError as error:
        raise ModelError(
            f"{hub_id}: not in the local cache and the hub cannot be reached; "
            "download it once with a network, or give the path of a local folder"
        ) from error
    except (HfHubHTTPError, HFValidationError, HTTPError, OSError) as error:
        first_line = str(error).strip().partition("\n")[0]
        raise ModelError(
            f"{hub_id}: cannot be downloaded from the hub ({first_line}); check the id, the revision and your token"
        ) from error
