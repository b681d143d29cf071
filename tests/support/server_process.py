"""`reasonembed serve` as a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import contextmanager

from running_server import WAIT_S

RUN = "import sys; from reasonembed_cli.app import main; sys.exit(main())"


def reasonembed(*words, cwd):
    """Run a command to its end."""
    return subprocess.run([sys.executable, "-c", RUN, *words], cwd=cwd, check=False, capture_output=True, text=True)


@contextmanager
def serving(*words, cwd):
    """Run `reasonembed serve` on a free port; yield its process and URL, and stop it by SIGTERM."""
    command = [sys.executable, "-c", RUN, "serve", *words, "--port", "0"]
    with subprocess.Popen(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=(cwd / "log.jsonl").open("w"), text=True
    ) as process:
        try:
            told = process.stdout.readline()
            assert told.endswith("/docs describes it\n"), (cwd / "log.jsonl").read_text()
            yield process, told.partition("/v1 ")[0]
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(WAIT_S)
