"""Which language a file of source code is in: by its suffix, its name or its first line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePath

__all__ = ["CODE_NAMES", "CODE_SUFFIXES", "language_of", "script_language"]

_SUFFIXES_OF: Mapping[str, str] = {
    "actionscript": "as",
    "ada": "adb ads",
    "bash": "bash bats ebuild ksh sh zsh",
    "c": "c h",
    "clojure": "clj cljc cljs",
    "cmake": "cmake",
    "commonlisp": "asd lisp",
    "cpp": "c++ cc cpp cxx h++ hh hpp hxx inl ino ipp tcc tpp",
    "csharp": "cs csx",
    "css": "css less scss",
    "cuda": "cu cuh",
    "d": "d",
    "dart": "dart",
    "elisp": "el",
    "elixir": "ex exs",
    "elm": "elm",
    "erlang": "erl hrl",
    "fish": "fish",
    "fortran": "f f03 f08 f90 f95 for",
    "fsharp": "fs fsi fsx",
    "gdscript": "gd",
    "glsl": "frag glsl vert",
    "go": "go",
    "graphql": "gql graphql",
    "groovy": "gradle groovy",
    "haskell": "hs",
    "haxe": "hx",
    "hcl": "hcl tf",
    "java": "java",
    "javascript": "cjs js jsx mjs",
    "julia": "jl",
    "kotlin": "kt kts",
    "lua": "lua",
    "luau": "luau",
    "matlab": "m",
    "nim": "nim",
    "nix": "nix",
    "objc": "mm",
    "ocaml": "ml",
    "ocaml_interface": "mli",
    "odin": "odin",
    "pascal": "dpr pas",
    "perl": "pl pm",
    "php": "php php3 php4 php5 phpt phtml",
    "powershell": "ps1 psd1 psm1",
    "proto": "proto",
    "purescript": "purs",
    "python": "py pyi pyw",
    "r": "r",
    "racket": "rkt",
    "ruby": "gemspec rake rb ru",
    "rust": "rs",
    "scala": "sbt sc scala",
    "scheme": "scm ss",
    "solidity": "sol",
    "sql": "sql",
    "starlark": "bzl star",
    "svelte": "svelte",
    "swift": "swift",
    "tcl": "tcl tk",
    "thrift": "thrift",
    "tsx": "tsx",
    "typescript": "cts mts ts",
    "vhdl": "vhd vhdl",
    "verilog": "sv svh v vh",
    "vim": "vim",
    "vue": "vue",
    "wgsl": "wgsl",
    "zig": "zig",
}
"""Suffixes by language, as tree-sitter-language-pack names the languages."""

CODE_SUFFIXES: Mapping[str, str] = {
    f".{suffix}": language for language, suffixes in _SUFFIXES_OF.items() for suffix in suffixes.split()
}
"""Languages by suffix."""

CODE_NAMES: Mapping[str, str] = {
    "build.bazel": "starlark",
    "cmakelists.txt": "cmake",
    "gemfile": "ruby",
    "jenkinsfile": "groovy",
    "pkgbuild": "bash",
    "rakefile": "ruby",
    "sconstruct": "python",
    "vagrantfile": "ruby",
}
"""Languages by the whole name in lower case."""

_INTERPRETERS = (
    (re.compile(r"python|pypy"), "python"),
    (re.compile(r"(ba|da|a|k|z)?sh|bats"), "bash"),
    (re.compile(r"perl"), "perl"),
    (re.compile(r"j?ruby"), "ruby"),
    (re.compile(r"node(js)?|bun"), "javascript"),
    (re.compile(r"deno|ts-node|tsx"), "typescript"),
    (re.compile(r"php"), "php"),
    (re.compile(r"luajit|lua"), "lua"),
    (re.compile(r"Rscript"), "r"),
    (re.compile(r"tclsh|wish|expect"), "tcl"),
    (re.compile(r"fish"), "fish"),
    (re.compile(r"guile"), "scheme"),
    (re.compile(r"escript"), "erlang"),
    (re.compile(r"julia"), "julia"),
    (re.compile(r"pwsh"), "powershell"),
    (re.compile(r"groovy"), "groovy"),
    (re.compile(r"elixir"), "elixir"),
)
_SHEBANG = re.compile(r"#!\s*(?:\S*/)?(?:env\s+(?:-\S+\s+|\w+=\S*\s+)*(?:\S*/)?)?([A-Za-z][\w-]*?)[\d.]*(?=\s|$)")
_CPP = re.compile(
    r"^\s*(class\s+\w+\s*[:{]|namespace\b|template\s*<|using\s+\w|(public|private|protected)\s*:)", re.MULTILINE
)
_OBJC = re.compile(r"^\s*(@(interface|implementation|protocol|class|import)\b|#import\b)", re.MULTILINE)


def language_of(path: PurePath, text: str) -> str:
    """Return the language of a file that is known to be code; what suffixes leave open its text decides."""
    suffix = path.suffix.lower()
    language = CODE_NAMES.get(path.name.lower()) or CODE_SUFFIXES.get(suffix) or script_language(text) or ""
    if suffix in {".h", ".m"} and _OBJC.search(text):
        return "objc"
    return "cpp" if suffix == ".h" and _CPP.search(text) else language


def script_language(text: str) -> str | None:
    """Return the language of a script by the interpreter that its first line names; None without such a line."""
    found = _SHEBANG.match(text)
    if found is None:
        return None
    return next((language for name, language in _INTERPRETERS if name.fullmatch(found.group(1))), None)
