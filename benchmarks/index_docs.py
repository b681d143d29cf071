"""Index the documentation that is installed on this machine, print the summary, and run again.

    python benchmarks/index_docs.py [--source /usr/share/doc] [--to docs.index] [--include '*.md' ...]

The second run finds nothing changed; it is a process of its own, timed as a whole.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", nargs="+", default=["/usr/share/doc"])
    parser.add_argument("--to", type=Path)
    parser.add_argument("--include", action="append", default=[])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        to = arguments.to or Path(folder) / "docs.index"
        includes = [part for pattern in arguments.include for part in ("--include", pattern)]
        program = "from reasonembed_cli.app import main; raise SystemExit(main())"
        command = [sys.executable, "-c", program, "index", *arguments.source, "--to", str(to), *includes]
        for run in ("first run", "nothing changed"):
            start = time.perf_counter()
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
            print(
                f"{run}: exit code {done.returncode}, {time.perf_counter() - start:.2f} s as a process\n{done.stdout}"
            )


if __name__ == "__main__":
    main()
