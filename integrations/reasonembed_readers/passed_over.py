"""What is not read, and why: by the names of files and by their first bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["PassedOver", "passed_over_by_content", "passed_over_by_name", "passed_over_by_suffix"]


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A file that is not read, and why: an image, a program, or a kind whose package is not installed."""

    kind: str
    """As the summary counts it: .png, or "binary" where there is no suffix."""
    reason: str
    """What it is and what would read it, such as "pip install 'reasonembed-rag[files]'"."""
    is_not_installed: bool = False
    """Whether the file would be read if a package were installed."""


_GROUPS: Mapping[str, str] = {
    "an image": """.avif .bmp .eps .gif .heic .icns .ico .jfif .jpe .jpeg .jpg .pbm .pgm .png .pnm .ppm .psd .svg .svgz
        .tga .tif .tiff .webp .xbm .xcf .xpm""",
    "audio": ".aac .aif .aiff .flac .m4a .mid .midi .mp3 .oga .ogg .opus .wav .wma",
    "video": ".avi .flv .m4v .mkv .mov .mp4 .mpeg .mpg .ogv .webm .wmv",
    "a font": ".afm .eot .otf .pfb .pfm .ttc .ttf .woff .woff2",
    "an archive: unpack it": """.7z .apk .br .cab .deb .dmg .egg .gem .iso .jar .lz .lz4 .lzma .rar .rpm .tar .tbz .tgz
        .txz .war .whl .z .zip .zst""",
    "a compiled program": """.a .bin .class .com .dll .dylib .efi .elf .exe .ko .la .lib .mo .msi .o .obj .pyc .pyd .pyo
        .qm .rlib .rmeta .so .wasm""",
    "a database": ".db .db3 .ldb .mdb .sqlite .sqlite3",
    "numbers or a model's weights": """.arrow .faiss .feather .fits .gguf .h5 .hdf5 .index .joblib .mat .npy .npz .onnx
        .pickle .pkl .pt .pth .rds .safetensors .tflite""",
    "keys or a certificate": ".asc .cer .crl .crt .csr .der .gpg .jks .key .p12 .pem .pfx .pub .sig",
    "generated: a source map": ".map",
    "a document of an old format: save it as .docx, .pptx or .pdf": ".doc .dot .pages .pot .pps .ppt .ps .rtf .wps",
    "a variant of a document: save it as .docx or .pptx": ".docm .dotm .dotx .odg .potm .potx .ppsm .ppsx",
    "a spreadsheet: save it as .csv": ".numbers .ods .xls .xlsb .xlsm .xlsx .xlt .xltx",
    "an e-book of another format: convert it to .epub": ".azw .azw3 .djvu .fb2 .lit .mobi",
    "mail of Outlook: save it as .eml": ".msg .ost .pst",
}
_BY_SUFFIX = {suffix: reason for reason, suffixes in _GROUPS.items() for suffix in suffixes.split()}
_TEXT_TOO = frozenset(
    {".a", ".asc", ".bin", ".com", ".doc", ".dot", ".index", ".key", ".la", ".map", ".mat", ".msg", ".pub"}
)
"""Suffixes that are also of texts: only the content can tell."""

_LOCKS = frozenset(
    {
        *("bun.lock", "cargo.lock", "composer.lock", "conda-lock.yml", "deno.lock", "flake.lock", "gemfile.lock"),
        *("go.sum", "mix.lock", "npm-shrinkwrap.json", "package-lock.json", "package.resolved", "pdm.lock"),
        *("pipfile.lock", "pnpm-lock.yaml", "podfile.lock", "poetry.lock", "pubspec.lock", "uv.lock", "yarn.lock"),
    }
)
_MINIFIED = (".min.js", ".min.mjs", ".min.css", ".bundle.js", ".chunk.js", ".chunk.css")

_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"PK\x03\x04", "an archive: unpack it"),
    (b"\x7fELF", "a compiled program"),
    (b"MZ\x90", "a compiled program"),
    (b"\xca\xfe\xba\xbe", "a compiled program"),
    (b"!<arch>\n", "a compiled program"),
    (b"\x89PNG", "an image"),
    (b"GIF8", "an image"),
    (b"\xff\xd8\xff", "an image"),
    (b"%!PS", "a document of an old format: save it as .docx, .pptx or .pdf"),
    (b"{\\rtf", "a document of an old format: save it as .docx, .pptx or .pdf"),
    (
        b"\xd0\xcf\x11\xe0",
        "a document of an old format, or with a password: save it as .docx or .pdf",
    ),
    (b"SQLite format 3\0", "a database"),
    (b"\x1f\x8b", "an archive: unpack it, or name it .gz"),
    (b"BZh", "an archive: unpack it, or name it .bz2"),
    (b"\xfd7zXZ\0", "an archive: unpack it, or name it .xz"),
    (b"\x28\xb5\x2f\xfd", "an archive: unpack it"),
    (b"PAR1", "Parquet: name it .parquet"),
    (b"version https://git-lfs.github.com/spec/", "a pointer of Git LFS: run git lfs pull"),
    (b"/* XPM */", "an image"),
    (b"sourceMap", "generated: a source map"),
)
_TAR_PLACE, _TAR = 257, b"ustar"
_ARMOUR = b"-----BEGIN "
_SIGNED = b"-----BEGIN PGP SIGNED MESSAGE-----"
_LONGEST_SUFFIX = 12


def passed_over_by_suffix(suffix: str) -> PassedOver | None:
    """Return why files of this suffix, which their content should have, are not read."""
    reason = _BY_SUFFIX.get(suffix)
    return None if reason is None else PassedOver(suffix, reason)


def passed_over_by_name(name: str, suffix: str) -> PassedOver | None:
    """Return why a file of this name, in lower case and unpacked, is not read; None if its content has to tell."""
    if name in _LOCKS:
        return PassedOver(name, "generated: versions that a package manager keeps")
    if name.endswith(_MINIFIED):
        return PassedOver(suffix, "generated: minified from a source")
    if name.endswith((".tar", ".js.map", ".css.map")):
        return PassedOver(suffix, _BY_SUFFIX[suffix])
    reason = _BY_SUFFIX.get(suffix)
    return None if reason is None or suffix in _TEXT_TOO else PassedOver(suffix, reason)


def passed_over_by_content(head: bytes, suffix: str, *, is_text: bool) -> PassedOver | None:
    """Return why a file with these first bytes is not read; None for text."""
    kind = suffix if suffix[1:].isalnum() and not suffix[1:].isdigit() and len(suffix) <= _LONGEST_SUFFIX else "binary"
    for signature, reason in _SIGNATURES:
        if head.startswith(signature):
            return PassedOver(kind, reason)
    if head[_TAR_PLACE : _TAR_PLACE + len(_TAR)] == _TAR:
        return PassedOver(kind, "an archive: unpack it")
    if head.startswith(_ARMOUR) and not head.startswith(_SIGNED):
        return PassedOver(kind, "keys or a certificate")
    return None if is_text else PassedOver(kind, _BY_SUFFIX.get(suffix, "binary: not text in any encoding"))
