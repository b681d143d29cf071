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


def copied():
    return [name for words in re.findall(r"^COPY (.+)$", DOCKERFILE, flags=re.MULTILINE) for name in words.split()[:-1]]


def stage_of(name):
    return DOCKERFILE.partition(f" AS {name}\n")[2].partition("\nFROM ")[0]


def test_what_is_copied_is_there():
    assert copied()
    assert [name for name in copied() if not (ROOT / name).exists()] == []


def test_what_is_copied_is_all_that_a_wheel_is_built_of():
    tree = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = tree["project"]
    needed = [*tree["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"], project["readme"]]
    needed += [*project["license-files"], tree["tool"]["hatch"]["version"]["path"], "pyproject.toml"]
    assert [name for name in needed if name.partition("/")[0] not in copied()] == []


def test_nothing_runs_as_root_and_the_user_has_the_folders_that_it_writes():
    (user,) = re.findall(r"useradd .*--uid (\d+)", DOCKERFILE)
    (owned,) = re.findall(r"install --directory --owner=\w+ (.+)$", DOCKERFILE, flags=re.MULTILINE)
    written = dict(re.findall(r"(HF_HOME|REASONEMBED_CACHE)=(\S+)", DOCKERFILE))
    assert set(written) == {"HF_HOME", "REASONEMBED_CACHE"}
    for folder in written.values():
        assert set(map(str, (Path(folder), *Path(folder).parents))) & set(owned.split())
    for stage in STAGES[1:]:
        text = stage_of(stage)
        assert re.findall(r"^USER (\S+)$", text, flags=re.MULTILINE) == [user]
        assert text.index("USER") > text.rindex("pip install")
    mounted = [one.split(":")[-1] for one in COMPOSE["volumes"]]
    assert set(mounted) <= set(owned.split())


@pytest.mark.parametrize("stage", ["cpu", "cuda"])
def test_the_health_check_asks_the_port_that_is_served(stage):
    text = stage_of(stage)
    check = json.loads(re.search(r"^HEALTHCHECK .*CMD (\[.+\])$", text, flags=re.MULTILINE)[1])
    port = re.search(r"^EXPOSE (\d+)$", text, flags=re.MULTILINE)[1]
    assert f"http://127.0.0.1:{port}/ready" in check[2]
    compile(check[2], "HEALTHCHECK", "exec")
    assert parsed(["serve"])["port"] == int(port)
    assert COMPOSE["ports"] == [f"127.0.0.1:{port}:{port}"]


def test_what_is_installed_is_ours_and_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {one for found in re.findall(r"'\.\[(.+?)\]'", DOCKERFILE) for one in found.split(",")}
    assert "serve" in extras
    assert extras <= set(project["optional-dependencies"])
    assert DOCKERFILE.count("pip install") == DOCKERFILE.count("pip install -c constraints.txt")


@pytest.mark.parametrize("stage", ["cpu", "cuda"])
def test_the_command_of_a_stage_is_parsed(stage):
    text = stage_of(stage)
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
