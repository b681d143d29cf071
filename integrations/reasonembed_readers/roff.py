"""What roff writes with escapes, as plain text."""

from __future__ import annotations

import re

__all__ = ["arguments", "unescaped"]

_TABLE = """em — en – hy - bu • co © rg ® tm ™ de ° mu × -> → aq ' oq ‘ cq ’ lq “ rq ” dq " Aq ' ga ` ha ^ ti ~ rs \\
    sl / at @ sh # ul _ or | <= ≤ >= ≥ != ≠ +- ± Fo « Fc » <- ← ss ß mi - pl + eq = lB [ rB ] lC { rC } R ® Tm ™ L" “ R"
    ” C' ' C` ' -- — PI π :a ä :o ö :u ü :A Ä :O Ö :U Ü 'e é `e è 'a á ^e ê"""  # noqa: RUF001
_CHARACTERS = dict(zip(_TABLE.split()[::2], _TABLE.split()[1::2], strict=True))
"""Special characters by their names."""
_COMMENT = re.compile(r"(?<!\\)\\[\"#].*")
_ESCAPE = re.compile(
    r"""\\(?:
    f(?:\[[^\]]*\]|\(..|.)                      # fonts
    |[mMFgkY](?:\[[^\]]*\]|\(..|.)              # colours and the like
    |s(?:\[[^\]]*\]|\(..|[-+]?\d\d?|'[^']*')    # sizes
    |n[-+]?(?:\[[^\]]*\]|\(..|.)                # numbers
    |[hvwblLNoDXAZRBH]'[^']*'                   # movements, drawings
    |[*]?\[(?P<long>[^\]]*)\]
    |[*]?\((?P<two>..)
    |[*](?P<string>.)
    |(?P<one>.)
    )""",
    re.VERBOSE,
)
_ONES = {
    "-": "-",
    "e": "\\",
    "~": " ",
    " ": " ",
    "0": " ",
    "t": "\t",
    "'": "'",
    "`": "`",
    ".": ".",
    "\\": "\\",
    "E": "\\",
}
_WORD = re.compile(r'"((?:[^"]|"")*)"?|(\S+)')


def unescaped(text: str) -> str:
    """Return a line without fonts, sizes and comments, its special characters as Unicode."""
    return _ESCAPE.sub(_character, _COMMENT.sub("", text))


def arguments(line: str) -> tuple[str, list[str]]:
    """Return the name of a request and its arguments as text; quotes keep words together."""
    name, _, rest = _COMMENT.sub("", line[1:]).strip().partition(" ")
    protected = rest.replace("\\ ", "\\~")
    words = [quoted.replace('""', '"') or bare for quoted, bare in _WORD.findall(protected)]
    return name.strip(), [unescaped(word) for word in words]


def _character(found: re.Match[str]) -> str:
    name = found["long"] or found["two"] or found["string"]
    if name is None:
        return _ONES.get(found["one"] or "", "")
    if code := re.fullmatch(r"u([0-9A-Fa-f]{4,6})", name):
        number = int(code.group(1), 16)
        return chr(number) if number < 0x110000 and not 0xD800 <= number < 0xE000 else ""
    return _CHARACTERS.get(name, "")
