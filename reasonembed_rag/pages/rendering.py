"""Render the project's HTML pages from jinja2 templates that share one layout and one style sheet."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

__all__ = ["render_template"]

_TEMPLATES = Path(__file__).parent / "templates"


def render_template(template: str | Path, **values: object) -> str:
    """Render a template: one of this package by name, or a file that may extend the layout and import the macros.

    Values are escaped unless they are Markup. Raises jinja2.UndefinedError for a value that the template lacks.
    """
    path = _TEMPLATES / template
    return _environment(path.parent).get_template(path.name).render(values)


def _percent(value: float | None, decimals: int = 1, sign: str = "") -> str:
    """Return a share x 100, nothing for None; sign "+" writes one before positive numbers too."""
    return "" if value is None else f"{100 * value:{sign}.{decimals}f}"


def _signed(value: float, decimals: int = 2) -> Markup:
    """Return a number with its sign, coloured by it."""
    kind = "up" if value > 0 else "down" if value < 0 else ""
    return Markup('<span class="{}">{}</span>').format(kind, f"{value:+.{decimals}f}")


def _each(values: Iterable[object], form: str) -> list[str]:
    """Return each value in a format, such as "ASR@{}"."""
    return [form.format(value) for value in values]


@cache
def _environment(folder: Path) -> Environment:
    """Return the environment for templates of a folder, which see those of this package."""
    environment = Environment(
        loader=FileSystemLoader([folder, _TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"percent": _percent, "signed": _signed, "thousands": "{:,}".format, "each": _each}
    return environment
