"""What a page of the documentation gets in place of what only its reader has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True)
class StandIn:
    """What a page gets: names, texts of its code replaced by others, and what is done before each block."""

    names: Mapping[str, object] = field(default_factory=dict)
    replacements: Mapping[str, str] = field(default_factory=dict)
    before: Callable[[str, dict[str, Any]], dict[str, Any]] = lambda _block, space: space

    def replaced(self, code: str) -> str:
        """Return the code with the replacements."""
        for old, new in self.replacements.items():
            code = code.replace(old, new)
        return code


@dataclass(frozen=True)
class Maker:
    """Makes the stand-in of a page, in its folder, and looks at its two runs.

    A notebook keeps what the first run defined while the second runs. A script does not: nothing of it stays open.
    """

    made: Callable[[pytest.FixtureRequest, Path], StandIn] = lambda _request, _folder: StandIn()
    check: Callable[[Any, Any], None] | None = None
    modes: Sequence[str] = ("notebook",)
    marks: Sequence[pytest.MarkDecorator] = ()
