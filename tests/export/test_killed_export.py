"""An export that is killed at any change of the file system leaves a whole folder or none.

Run as a script with two models, this file exports one over the other in forked processes, kills each a
call later than the one before, and lets the last one end.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from reasonembed_cli.app import main

CHANGES = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"}
"""Audit events of what an export does to the file system."""


def contents(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def export(model, to):
    assert main(["export", model, "--to", str(to), "--overwrite"]) == 0


def export_until_killed(model, to, calls):
    left = itertools.count(calls, -1)

    def kill(event, arguments):
        reads = event == "open" and not any(sign in str(arguments[1]) for sign in "wax+")
        if event in CHANGES and not reads and next(left) == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(kill)
    export(model, to)
    os._exit(0)


def kills(models):
    """Export over each other until a run is not killed any more; return how many were."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as root:
        return kills_in(Path(root), models)


def kills_in(root, models):
    whole = []
    for number, model in enumerate(models):
        export(model, root / str(number) / "out")
        whole.append(contents(root / str(number) / "out"))
    to = root / "killed" / "out"
    export(models[1], to)
    absent, calls, status = 0, -1, signal.SIGKILL
    while os.WIFSIGNALED(status):
        calls += 1
        process = os.fork()
        if process == 0:
            export_until_killed(models[calls % 2], to, calls)
        status = os.waitpid(process, 0)[1]
        absent += not to.exists()
        assert not to.exists() or contents(to) in whole, f"after call {calls}"
    assert os.waitstatus_to_exitcode(status) == 0
    assert contents(to) == whole[calls % 2]
    assert [path.name for path in to.parent.iterdir()] == ["out"]
    assert absent <= 2  # between two renames, where the next run puts the old folder back
    return calls


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_an_export_killed_anywhere_leaves_a_whole_folder_or_none_and_the_next_one_no_debris(tiny_model):
    models = [str(tiny_model(kind, pooling="mean")) for kind in ("bert", "mpnet")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, __file__, *models]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout.splitlines()[-1]) > 20


if __name__ == "__main__":
    sys.stdout.write(f"{kills(sys.argv[1:])}\n")
