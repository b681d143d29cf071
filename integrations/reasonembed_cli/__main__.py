"""`python -m reasonembed_cli`, as torchrun starts a command."""

from __future__ import annotations

from reasonembed_cli.app import main

if __name__ == "__main__":
    raise SystemExit(main())
