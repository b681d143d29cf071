"""Source code is split at its functions and classes, and none of its lines is lost."""

from __future__ import annotations

import ast
import sysconfig
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasonembed_readers import FileKind, Part, file_kind, read_file, source_code
from reasonembed_readers.outline import code_parts
from reasonembed_readers.python_outline import python_outline
from reasonembed_readers.tree_outline import has_grammars, tree_outline

needs_grammars = pytest.mark.skipif(not has_grammars(), reason="needs the extra files")
STDLIB = Path(sysconfig.get_path("stdlib"))
SOURCES = [
    "argparse",
    "ast",
    "asyncio/base_events",
    "dataclasses",
    "decimal",
    "heapq",
    "json/__init__",
    "pydoc",
    "this",
]
LONG = "\n".join(f"    value_{number} = compute(value_{number - 1}, {number})" for number in range(1, 30))


def _read(path: Path, content: str | bytes) -> tuple[list[Part], list[str]]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    notes: list[str] = []
    return list(read_file(path, on_note=notes.append)), notes


def _check_that_every_line_is_there_once(lines: list[str], parts: list[Part]) -> None:
    at = 0
    for part in parts:
        first = (part.line or 0) - 1
        assert first >= at
        assert not "".join(lines[at:first]).strip()
        at = first + part.text.count("\n") + 1
        assert part.text.split("\n") == lines[first:at]
    assert not "".join(lines[at:]).strip()


@pytest.mark.parametrize("name", SOURCES)
def test_every_line_of_a_standard_module_is_in_one_part_in_order(name):
    path = STDLIB / f"{name}.py"
    parts = list(read_file(path))
    _check_that_every_line_is_there_once(path.read_text(encoding="utf-8").split("\n"), parts)
    assert {part.metadata["language"] for part in parts} == {"python"}
    assert not any(part.outline for part in parts)


@needs_grammars
@pytest.mark.parametrize("name", SOURCES)
def test_tree_sitter_finds_the_functions_that_the_parser_of_python_finds(name):
    lines = (STDLIB / f"{name}.py").read_text(encoding="utf-8").split("\n")

    def named(symbols):
        return {(symbol.name, symbol.last, *named(symbol.inner)) for symbol in symbols if symbol.holds}

    assert named(tree_outline(lines, "python")) == named(python_outline(lines))


LINES = st.sampled_from(
    [
        *(
            "",
            "import os",
            "x = 1",
            "# words",
            "@decorated",
            "def f():",
            "    return 1",
            "class A:",
            "    '''Words.'''",
        ),
        *(
            "    def g(self):",
            "        x = (",
            "        )",
            "if x:",
            "    def h(): pass",
            "}",
            "\tend",
            "\x0c",
            "é = '\u2028'",
        ),
        *("x = [" + "1, " * 500 + "]", "#endif", "function f() {", "async def k():", "    # inner", "    class B:"),
    ]
)


@given(st.lists(LINES, max_size=60), st.sampled_from(["python", "javascript", "c", "ruby"]))
def test_every_line_of_anything_is_in_one_part_in_order(lines, language):
    outlines = [tree_outline(lines, language)] if has_grammars() else []
    try:
        outlines.append(python_outline(lines))
    except SyntaxError:
        outlines.append([])
    for outline in outlines:
        parts = list(code_parts(lines, outline, title="x", language=language))
        _check_that_every_line_is_there_once(lines, parts)


def test_long_functions_are_parts_and_small_neighbours_are_merged(tmp_path):
    small = "import a\nimport b\n\nX = 1\n\ndef small(): return 1\n"
    source = f"{small}\n# Above.\n@cached\ndef long():\n{LONG}\n\ndef last(): pass\n"
    parts, _ = _read(tmp_path / "m.py", source)
    assert [part.metadata.get("symbol") for part in parts] == ["small", "long", "last"]
    assert [part.line for part in parts] == [1, 8, 41]
    assert parts[0].text.startswith("import a")
    assert parts[1].text.startswith("# Above.\n@cached\ndef long")
    assert [part.heading for part in parts] == [("m.py", "small"), ("m.py", "long"), ("m.py", "last")]


def test_a_short_class_is_one_part_and_a_long_one_is_split_at_its_methods(tmp_path):
    body = LONG.replace("    value", "        value")
    methods = "".join(f"\n    def method_{name}(self):\n{body}\n" for name in "ab")
    parts, _ = _read(tmp_path / "m.py", f'class Long:\n    """Words."""\n{methods}\nclass Short:\n    """Words."""\n')
    assert [part.metadata["symbol"] for part in parts] == ["Long", "Long.method_a", "Long.method_b", "Short"]
    assert parts[1].heading == ("m.py", "Long", "method_a")
    assert parts[0].text == 'class Long:\n    """Words."""'


def test_what_is_short_and_what_is_long_before_a_function(tmp_path):
    title = "# " + "-" * 40 + "\n# Section\n\n"
    parts, _ = _read(
        tmp_path / "m.py", f"{title}def f():\n{LONG}\n\nTABLE = [\n{'    1,' * 200}\n]\n\ndef g():\n{LONG}\n"
    )
    assert [part.metadata.get("symbol") for part in parts] == ["f", None, "g"]
    assert parts[0].text.startswith("# ---")


def test_functions_within_conditions_are_found(tmp_path):
    body = LONG.replace("    value", "        value")
    parts, _ = _read(tmp_path / "m.py", f"try:\n    import x\nexcept ImportError:\n    def f():\n{body}\n")
    assert [(part.metadata.get("symbol"), part.line) for part in parts] == [("f", 1)]


def test_what_stands_for_a_folder_has_its_name_in_the_heading(tmp_path):
    (tmp_path / "box").mkdir()
    parts, _ = _read(tmp_path / "box" / "__init__.py", "x = 1\n")
    assert parts[0].heading == ("box/__init__.py",)


def test_python_that_declares_its_encoding_is_read_in_it(tmp_path):
    parts, _ = _read(tmp_path / "m.py", "# -*- coding: koi8-r -*-\ns = 'Привет'\n".encode("koi8-r"))
    assert "Привет" in parts[0].text


@needs_grammars
def test_python_of_another_version_is_split_and_noted(tmp_path):
    source = f"print 'old'\n\ndef f():\n{LONG}\n\ndef g():\n{LONG}\n"
    parts, notes = _read(tmp_path / "m.py", source)
    assert [part.metadata.get("symbol") for part in parts] == ["f", "g"]
    assert ["not Python" in note for note in notes] == [True]


@pytest.mark.parametrize("source", ["(" * 3000 + ")" * 3000, "x = " + "-" * 100_000 + "1", "a." * 50_000 + "b"])
def test_code_that_is_nested_too_deep_is_read(tmp_path, source):
    for name in ("m.py", "m.js"):
        parts, _ = _read(tmp_path / name, source)
        assert [part.text for part in parts] == [source]


def test_without_the_package_code_is_one_text_and_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(source_code, "has_grammars", lambda: False)
    parts, notes = _read(tmp_path / "a.js", f"function f() {{\n{LONG}\n}}\n\nfunction g() {{\n{LONG}\n}}\n")
    assert len(parts) == 1
    assert parts[0].metadata == {"language": "javascript"}
    assert ["reasonembed-rag[files]" in note for note in notes] == [True]


@pytest.mark.parametrize("suffix", ["py", "js", "c", "sql"])
def test_an_empty_file_has_no_parts(tmp_path, suffix):
    assert _read(tmp_path / f"empty.{suffix}", "")[0] == []
    assert _read(tmp_path / f"blank.{suffix}", " \n\n\t\n")[0] == []


SCRIPTS = {
    "#!/bin/sh": "bash",
    "#!/usr/bin/env python3.11": "python",
    "#! /usr/bin/perl -w": "perl",
    "#!/usr/bin/env -S node --x": "javascript",
    "#!/usr/local/bin/lua5.3": "lua",
    "#!/opt/thing/own": None,
}


@pytest.mark.parametrize("line", SCRIPTS)
def test_a_script_without_a_suffix_is_code_of_its_interpreters_language(tmp_path, line):
    parts, _ = _read(tmp_path / "script", f"{line}\necho\n")
    kind = file_kind(tmp_path / "script")
    assert isinstance(kind, FileKind)
    assert kind.name == "source code"
    assert parts[0].metadata.get("language") == SCRIPTS[line]


def _filled(template: str) -> str:
    """Make the places § of a source so long that they are parts of their own."""
    return template.replace("§", "\n".join("x(1, 2, 3);" for _ in range(60)))


IN_C = "{\n§\n}\n"
LANGUAGES = {
    "a.js": (f"export class A {{\n  b() {IN_C}\n  c() {IN_C}}}\nconst d = (e) => {IN_C}", ["A.b", "A.c", "d"]),
    "a.ts": (f"namespace N {{\nexport function f(): number {IN_C}\nfunction g() {IN_C}}}\n", ["N.f", "N.g"]),
    "a.tsx": (
        f"export const C: React.FC = () => {IN_C}export abstract class D {{ e(): void {IN_C}\nf() {IN_C} }}",
        ["C", "D.e", "D.f"],
    ),
    "A.java": (f"package p;\n/** Words. */\npublic class A {{\n void b() {IN_C}\n A() {IN_C}}}\n", ["A.b", "A.A"]),
    "a.c": (f"#ifndef A\nint *f(int a) {IN_C}\nstatic void g(void) {IN_C}\n#endif\n", ["f", "g"]),
    "a.h": (f"namespace a {{ class B {{\npublic:\n int c() {IN_C}\n int d() {IN_C}}}; }}\n", ["a.B.c", "a.B.d"]),
    "a.cpp": (f"template <class T>\nint A<T>::f() {IN_C}\nvoid g() {IN_C}", ["A<T>::f", "g"]),
    "a.go": (f"package a\n\nfunc (b *B) C() int {IN_C}\nfunc d() {IN_C}", ["B.C", "d"]),
    "a.rs": (f"impl T for A {{\n fn b(&self) {IN_C}\n fn c() {IN_C}}}\n#[test]\nfn d() {IN_C}", ["A.b", "A.c", "d"]),
    "a.rb": ("module M\nclass A\ndef b\n§\nend\ndef self.c\n§\nend\nend\nend\n", ["M.A.b", "M.A.c"]),
    "a.php": (
        f"<?php\nfunction f($a) {IN_C}\nclass C {{\nfunction m() {IN_C} function n() {IN_C} }}",
        ["f", "C.m", "C.n"],
    ),
    "a.cs": (f"namespace N {{\nclass A {{\nvoid B() {IN_C}\nvoid C() {IN_C}}}\n}}\n", ["N.A.B", "N.A.C"]),
    "a.kt": (f"class A {{\nfun b(): Int {IN_C}\nfun c() {IN_C}}}\nfun d() {IN_C}", ["A.b", "A.c", "d"]),
    "a.scala": (f"object A {{\ndef b(x: Int) = {IN_C}\ndef c() = {IN_C}}}\n", ["A.b", "A.c"]),
    "a.swift": (f"class A {{\nfunc b() {IN_C}\ninit() {IN_C}}}\nfunc d() {IN_C}", ["A.b", "A.init", "d"]),
    "a.sh": ("#!/bin/sh\nf() {\n§\n}\nfunction g {\n§\n}\n".replace("§", "echo $1\n" * 90), ["f", "g"]),
    "a.sql": (
        "CREATE TABLE a (id INT);\n"
        + "".join(f"CREATE VIEW {name} AS SELECT {'a, ' * 120} b FROM c;\n" for name in "vw"),
        ["v", "w"],
    ),
    "a.lua": ("function M.f(a)\n§\nend\nlocal function g()\n§\nend\n", ["M.f", "g"]),
    "a.R": (f"f <- function(a) {IN_C}\ng = function(b) {IN_C}".replace(";", ""), ["f", "g"]),
    "a.pl": (f"use strict;\nsub f {IN_C}\nsub g {IN_C}", ["f", "g"]),
    "a.ex": ("defmodule A do\n  def b(x) do\n§\n  end\n  defp c do\n§\n  end\nend\n".replace(";", ""), ["A.b", "A.c"]),
    "a.hs": ("f :: Int -> Int\nf x = [" + "x, " * 200 + "1]\ng :: Int\ng = [" + "1, " * 200 + "1]\n", ["f", "g"]),
    "a.jl": ("module M\nfunction f(x)\n§\nend\nfunction g()\n§\nend\nend\n", ["M.f", "M.g"]),
    "a.el": ("(defun f (x)\n  (a " + "b " * 300 + "))\n(defun g (x)\n  (a " + "b " * 300 + "))\n", ["f", "g"]),
    "a.ps1": (f"function Get-A {IN_C}\nfunction Get-B {IN_C}", ["Get-A", "Get-B"]),
    "a.f90": ("module m\ncontains\nsubroutine f(a)\n" + "a = 1\n" * 60 + "end subroutine f\nend module m\n", ["m"]),
}


@needs_grammars
@pytest.mark.parametrize("name", LANGUAGES)
def test_functions_are_found_in(tmp_path, name):
    template, wanted = LANGUAGES[name]
    source = _filled(template)
    parts, notes = _read(tmp_path / name, source)
    _check_that_every_line_is_there_once(source.split("\n"), parts)
    found = [symbol for part in parts for symbol in part.metadata.get("symbol", "").split(", ")]
    assert [name for name in found if name in wanted] == wanted
    assert len(parts) >= len(wanted)
    assert notes == []


def test_broken_code_of_a_grammar_that_never_ends_is_one_text(tmp_path):
    source = f"module A\nlet f x = x\n  member t\n{LONG}\n" * 20
    parts, _ = _read(tmp_path / "a.fs", source)
    assert [(part.text, part.metadata) for part in parts] == [(source.rstrip("\n"), {"language": "fsharp"})]


@needs_grammars
def test_comments_above_and_braces_below_are_in_the_part_of_their_function(tmp_path):
    source = _filled(f"class A {{\n// Above b.\nb() {IN_C}\n/** Above\n c. */\nc() {IN_C}}}\n")
    parts, _ = _read(tmp_path / "a.js", source)
    assert [part.text.split("\n")[0] for part in parts] == ["class A {", "// Above b.", "/** Above"]
    assert parts[-1].text.endswith("}\n}")


def test_a_docstring_is_in_the_part_of_its_function(tmp_path):
    source = f'def f():\n    """Words of f."""\n{LONG}\n\n\ndef g():\n    """Words of g."""\n{LONG}\n'
    parts, _ = _read(tmp_path / "m.py", source)
    for part, node in zip(parts, ast.parse(source).body, strict=True):
        assert part.text == ast.get_source_segment(source, node)
