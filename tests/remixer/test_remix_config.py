"""Settings of a run: names that older versions used."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest

from reasonembed_rag import deprecation
from reasonembed_rag.errors import TrainingError
from reasonembed_training.remixer.config import read_config, read_settings, write_settings
from reasonembed_training.remixer.folder import RunFolder, StageState

GIVEN = {"corpus": "c", "card": "biology", "out": "run"}


def test_the_old_name_of_the_circuit_breaker_is_read_and_warned_of_once(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(deprecation, "_warned", set())
    path = tmp_path / "remix.toml"
    path.write_text("[calls]\nfuse = 0.25\nattempts = 3\n")
    with pytest.warns(FutureWarning, match=r"\bcalls\.fuse\b.*\bcalls\.max_failure_share\b"):
        calls = read_config(path, given=GIVEN).calls
    assert (calls.max_failure_share, calls.attempts) == (0.25, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_config(None, given=GIVEN, changes=["calls.fuse=0.75"]).calls.max_failure_share == 0.75
    with pytest.raises(TrainingError, match=r"\bfuse\b"):
        read_config(path, given=GIVEN, changes=["calls.max_failure_share=0.5"])


def test_a_run_folder_of_an_older_version_is_read_without_a_warning(tmp_path: Path, make_config):
    config = make_config(calls={"max_failure_share": 0.25})
    config.out.mkdir()
    write_settings(config)
    path = config.out / "settings.json"
    table = json.loads(path.read_text())
    table["calls"]["fuse"] = table["calls"].pop("max_failure_share")
    path.write_text(json.dumps(table))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_settings(config.out).calls == config.calls


def test_the_states_of_a_folder_are_stored_under_the_keys_of_every_version(tmp_path: Path):
    folder = RunFolder(tmp_path)
    state = StageState(inputs="a", output="b", records=3, retryable=2, failure="HTTP 503")
    folder.note("judge", state)
    assert json.loads((tmp_path / "stages.json").read_text())["judge"]["passing"] == 2
    assert folder.states() == {"judge": state}
