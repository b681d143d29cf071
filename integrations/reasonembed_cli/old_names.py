"""The names that commands and options had before; they still work, and say once what they are called now."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from reasonembed_cli.commands import is_command

__all__ = ["current_names"]

_MOVED = {
    "average": ("train", "average"),
    "crop": ("train", "crop"),
    "curves": ("train", "curves"),
    "mine": ("train", "mine"),
    "report": ("eval", "compare"),
    "train-reasoner": ("train", "reasoner"),
    "train-reranker": ("train", "reranker"),
}


def current_names(arguments: Sequence[str]) -> list[str]:
    """Return the arguments of the command line with today's names of commands, with a warning for an old one.

    `eval --data ...` is `eval run`, or `eval score` with --run FILE; `train RECIPE` is `train run RECIPE`.
    """
    from reasonembed_rag.deprecation import warn_deprecated

    old, *rest = arguments or [""]
    if old == "ablate":
        return [old, *_file_of_json(rest)]
    new = _MOVED.get(old) or _default(old, rest)
    if new is None:
        return list(arguments)
    if new == ("eval", "score"):
        rest = _run_as_argument(rest)
    warn_deprecated(f"`reasonembed {old}`", f"`reasonembed {' '.join(new)}`", category=FutureWarning)
    return [*new, *rest]


def _default(group: str, rest: Sequence[str]) -> tuple[str, str] | None:
    """Return the command that a group was before it had commands; None where one is named, or help is asked for."""
    if not rest or rest[0] in {"-h", "--help"}:
        return None
    if group == "eval" and rest[0].startswith("-"):
        scored = any(word == "--run" or word.startswith("--run=") for word in rest)
        return ("eval", "score" if scored else "run")
    if group != "train" or is_command(rest[0], group=group):  # also where a file has the command's name
        return None
    recipe = rest[0].endswith(".toml") or rest[0].startswith("-") or Path(rest[0]).is_file()
    return ("train", "run") if recipe else None


def _file_of_json(words: Sequence[str]) -> list[str]:
    """Return the words of `ablate` with --json as a flag: it took the name of a file before."""
    from reasonembed_rag.deprecation import warn_deprecated

    told: list[str] = []
    for word in words:
        follows = told[-1:] == ["--json"] and not word.startswith("-") and not word.endswith(".toml")
        if follows or word.startswith("--json="):
            warn_deprecated("`ablate --json FILE`", "`ablate --json > FILE`", category=FutureWarning)
            told[len(told) - follows :] = ["--json-file", word.removeprefix("--json=")]
        else:
            told.append(word)
    return told


def _run_as_argument(words: Sequence[str]) -> list[str]:
    """Return the words with the value of --run in front, as `eval score` takes it."""
    left, runs = [], []
    rest = iter(words)
    for word in rest:
        if word == "--run":
            runs += [value] if (value := next(rest, None)) is not None else []
        elif word.startswith("--run="):
            runs.append(word.removeprefix("--run="))
        else:
            left.append(word)
    return [*runs[-1:], *left]
