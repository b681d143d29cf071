"""Render the project's HTML pages from jinja2 templates that share one layout and one style sheet."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from reasonembed_rag.files import plain_record
from reasonembed_rag.pages.palette import colour_rules

__all__ = ["json_block", "render_template"]

_TEMPLATES = Path(__file__).parent / "templates"


def render_template(template: str | Path, *, script: str | None = None, **values: object) -> str:
    """Render a template: one of this package by name, or a file that may extend the layout and import the macros.

    Values are escaped unless they are Markup. `script` names a file of this package, the only one that the page's
    security policy lets run; nothing may be loaded. Raises jinja2.UndefinedError for a value that the template lacks.
    """
    path = _TEMPLATES / template
    style = colour_rules() + _source("style.css")
    code = "" if script is None else _source(script)
    return (
        _environment(path.parent)
        .get_template(path.name)
        .render(values, style=_own(style), script=_own(code), policy=_policy(style, code))
    )


def json_block(value: object) -> Markup:
    """Return a value as JSON for a script element of type application/json, which no text in it can end."""
    return _own(json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c"))


def _own(text: str) -> Markup:
    """Mark text of this package, or without a tag in it, as safe."""
    return Markup(text)  # noqa: S704


@cache
def _source(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def _policy(style: str, code: str) -> str:
    """Return a content security policy that allows the page's own style and script and nothing else."""
    allowed = [f"{kind}-src 'sha256-{_digest(text)}'" for kind, text in (("style", style), ("script", code)) if text]
    return "; ".join(["default-src 'none'", *allowed, "base-uri 'none'", "form-action 'none'"])


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _percent(value: float | None, decimals: int = 1, sign: str = "") -> str:
    """Return a share x 100, a dash for None; sign "+" writes one before positive numbers too."""
    return "—" if value is None else f"{100 * value:{sign}.{decimals}f}"


def _signed(value: float, decimals: int = 2) -> Markup:
    """Return a number with its sign, coloured by it."""
    kind = "up" if value > 0 else "down" if value < 0 else ""
    return Markup('<span class="{}">{}</span>').format(kind, f"{value:+.{decimals}f}")


def _p_value(value: float) -> str:
    return f"{value:.4f}" if value >= 0.0001 else "< 0.0001"


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
    environment.filters |= {
        "percent": _percent,
        "signed": _signed,
        "p_value": _p_value,
        "record": plain_record,
        "thousands": "{:,}".format,
        "each": _each,
    }
    return environment
