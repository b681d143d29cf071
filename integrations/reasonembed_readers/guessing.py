"""The encoding of text that is not UTF-8 and declares none."""

from __future__ import annotations

import codecs
from collections.abc import Sequence

__all__ = ["guessed_encoding"]

_SAMPLE = 1 << 16
_MOST_FOREIGN = 0.3
"""Letters beyond ASCII in text in the Latin script."""
_GUESSES = (
    *("cp1252", "cp1250", "cp1251", "koi8_r", "koi8_u", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp874"),
    *("iso8859_2", "iso8859_5", "gb18030", "big5", "big5hkscs", "cp932", "euc_jp", "cp949", "cp850", "cp437", "cp737"),
)
"""What files are written in; among all that Python knows, guesses for short texts go astray."""
_SIGNS = "\xa0¿¡«»“”‘’„–—©®°€£§…·•"  # noqa: RUF001
_WESTERN = frozenset(f"{_SIGNS}àâäçéèêëîïôöùûüÿßñáíóúåæøãõìòýðþÀÂÄÇÉÈÊËÎÏÔÖÙÛÜÑÁÍÓÚÅÆØÃÕÝÐÞ")
_TURKISH = frozenset(f"{_SIGNS}çöüâîûÇÖÜÂÎÛðýþÐÝÞ")  # as cp1252 shows it
_TURKISH_ONLY = frozenset("ðþÐÞ")
_HUNGARIAN = frozenset("õû")
_CONTROLS = frozenset(range(0x80, 0xA0))


def guessed_encoding(lines: Sequence[bytes]) -> str:
    """Return the most likely encoding of lines that are not UTF-8: by their letters, else by charset-normalizer.

    Latin text comes first, which charset-normalizer takes for Czech where it is short; cp1252 is the last resort.
    """
    sample = b"".join(lines)[:_SAMPLE]
    latin = _of_latin_script(sample)
    if latin is not None:
        return latin
    from charset_normalizer import from_bytes

    best = from_bytes(sample, cp_isolation=list(_GUESSES)).best()
    encoding = "cp1252" if best is None else codecs.lookup(best.encoding).name
    return "iso8859-2" if encoding == "cp1250" and not _CONTROLS.intersection(sample) else encoding


def _of_latin_script(sample: bytes) -> str | None:
    foreign = sample.translate(None, bytes(range(128)))
    if len(foreign) > _MOST_FOREIGN * len(sample):
        return None
    shown = set(foreign.decode("cp1252", errors="replace"))
    if shown <= _TURKISH and shown & _TURKISH_ONLY:
        return "cp1254"
    if shown <= _WESTERN and not shown >= _HUNGARIAN:
        return "cp1252"
    return None
