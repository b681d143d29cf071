"""Run Python in a process of its own, with forks that may hang or die."""

from __future__ import annotations

import os
import subprocess
import sys

IN_CHILD = '''
import os, sys, threading

def in_child(function, leave=os._exit):
    """Call a function in a forked child; fail if it does."""
    pid = os.fork()
    if pid == 0:
        try:
            function()
            code = 0
        except BaseException as error:
            print(f"in the child: {type(error).__name__}: {error}", flush=True)
            code = 1
        leave(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, "the child failed"

def raises(kind, function, *words):
    try:
        function()
    except kind as error:
        assert all(word in str(error) for word in words), error
    else:
        raise AssertionError(f"{kind.__name__} was not raised")
'''


def run_script(code: str, *arguments: object, threads: int = 1, timeout: float = 60) -> str:
    """Return what a script prints; it is killed after the timeout, and fails the test unless it exits with 0."""
    done = subprocess.run(
        [sys.executable, "-c", IN_CHILD + code, *map(str, arguments)],
        env=os.environ | {"OMP_NUM_THREADS": str(threads)},
        timeout=timeout,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
