"""The Dockerfile and the compose file name what is there. No image is built: that needs a Docker daemon."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
import typer
import yaml

from reasonembed_cli.app import build_app

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())["services"]["reasonembed"]
STAGES = re.findall(r"^FROM \S+ AS (\w+)$", DOCKERFILE, flags=re.MULTILINE)


def parsed(words):
    name, *arguments = words
    return typer.main.get_command(build_app()).commands[name].make_context(name, arguments).params


def test_what_is_copied_is_there():
    copied = [words.split()[:-1] for words in re.findall(r"^COPY (.+)$", DOCKERFILE, flags=re.MULTILINE)]
    assert copied
    assert [name for names in copied for name in names if not (ROOT / name).exists()] == []


def test_what_is_installed_is_ours_and_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {one for found in re.findall(r"'\.\[(.+?)\]'", DOCKERFILE) for one in found.split(",")}
    assert "serve" in extras
    assert extras <= set(project["optional-dependencies"])
    assert DOCKERFILE.count("pip install") == DOCKERFILE.count("pip install -c constraints.txt")


@pytest.mark.parametrize("stage", ["cpu", "cuda"])
def test_the_command_of_a_stage_is_parsed(stage):
    text = DOCKERFILE.partition(f" AS {stage}\n")[2].partition("\nFROM ")[0]
    entry, command = (
        json.loads(re.search(rf"^{name} (\[.+\])$", text, flags=re.MULTILINE)[1]) for name in ("ENTRYPOINT", "CMD")
    )
    assert entry[0] == "reasonembed"
    assert parsed([*entry[1:], *command])["host"] == "0.0.0.0"


def test_the_compose_file_runs_a_stage_longer_than_its_grace():
    assert COMPOSE["build"]["target"] in STAGES
    assert (ROOT / "docker" / COMPOSE["build"]["context"] / COMPOSE["build"]["dockerfile"]).is_file()
    params = parsed(["serve", *COMPOSE["command"]])
    assert params["keys"] is not None
    assert int(COMPOSE["stop_grace_period"].removesuffix("s")) > params["grace"]
