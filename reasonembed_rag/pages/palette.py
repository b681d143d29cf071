"""The colours of pages and curves, which colour-blind readers can tell apart (Okabe and Ito; ColorBrewer's BrBG)."""

from __future__ import annotations

__all__ = ["LIGHT_COLOURS", "SERIES_COLOURS", "colour_rules"]

SERIES_COLOURS = ("#0072b2", "#d97706", "#009e73", "#b5588f", "#4b3f9e", "#5c6773")
"""Of systems, in order, on a light ground."""
_DARK_SERIES = ("#56b4e9", "#f0a830", "#2cc295", "#e09bc0", "#9d8cff", "#a9b4c0")

LIGHT_COLOURS = {
    "ink": "#1d2330",
    "soft": "#566072",
    "line": "#dfe4ec",
    "paper": "#ffffff",
    "panel": "#f5f7fa",
    "link": "#0b5fa5",
    "up": "#01665e",
    "down": "#8c510a",
}
_DARK = {
    "ink": "#e6e9ef",
    "soft": "#a3adbd",
    "line": "#303744",
    "paper": "#14171d",
    "panel": "#1c2129",
    "link": "#7cbcf5",
    "up": "#5ab4ac",
    "down": "#d8b365",
}
"""Gains are teal and losses brown, never green and red, and each has its sign."""


def colour_rules() -> str:
    """Return the CSS that defines the colours, light and dark, and gives each system its own."""
    light, dark = (
        ";".join(f"--{name}:{value}" for name, value in {**named, **_numbered(series)}.items())
        for named, series in ((LIGHT_COLOURS, SERIES_COLOURS), (_DARK, _DARK_SERIES))
    )
    systems = "\n".join(
        f".system{n}{{fill:var(--s{n});background:var(--s{n})}}.line.system{n}{{stroke:var(--s{n})}}"
        for n in range(len(SERIES_COLOURS))
    )
    return (
        f":root{{color-scheme:light dark;{light}}}\n@media (prefers-color-scheme:dark){{:root{{{dark}}}}}\n{systems}\n"
    )


def _numbered(series: tuple[str, ...]) -> dict[str, str]:
    return {f"s{number}": colour for number, colour in enumerate(series)}
