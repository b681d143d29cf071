"""What the pages are made of: their frame and style, tables, lists, and how something was measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from reasonembed_rag.evaluation import Environment, System

__all__ = ["bullets", "circumstances", "page_of", "section", "signed", "table"]

_STYLE = """
:root{color-scheme:light dark;--ink:#1d2330;--soft:#667085;--line:#e3e7ee;--paper:#fff;--panel:#f6f8fb;
--a:#3b6fb6;--b:#d1782c;--c:#3f8f6b;--d:#8457b0;--up:#2e8b57;--down:#c0392b}
@media (prefers-color-scheme:dark){:root{--ink:#e6e9ef;--soft:#98a2b3;--line:#303744;--paper:#14171d;--panel:#1c2129;
--a:#6ea3e8;--b:#e59a57;--c:#63b892;--d:#b08be0;--up:#5dbb85;--down:#e57368}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:920px;margin:0 auto;padding:32px 24px 64px}
h1{font-size:24px;margin:0 0 4px}h2{font-size:17px;margin:36px 0 8px}
p{margin:4px 0;color:var(--soft)}svg{max-width:100%;height:auto;display:block}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:5px 10px;border-bottom:1px solid var(--line);text-align:right;vertical-align:bottom}
th{font-weight:600;color:var(--soft)}td{white-space:nowrap}
th:first-child,td:first-child{text-align:left;white-space:normal;overflow-wrap:break-word;min-width:170px}
.slim th,.slim td{padding:5px 6px;font-size:13px}.slim th:first-child,.slim td:first-child{min-width:100px}
.texts td{white-space:normal;text-align:left;vertical-align:top;overflow-wrap:anywhere}.texts th{text-align:left}
.up{color:var(--up)}.down{color:var(--down)}
.key{display:inline-block;width:11px;height:11px;border-radius:2px;margin:0 5px 0 12px}
.key:first-child{margin-left:0}.system0{fill:var(--a);background:var(--a)}.system1{fill:var(--b);background:var(--b)}
.system2{fill:var(--c);background:var(--c)}.system3{fill:var(--d);background:var(--d)}
text{font-size:12px;fill:var(--ink)}.tick{fill:var(--soft);font-size:11px}.value{font-size:11px}
.line{fill:none;background:none;stroke-width:2}.line.system0{stroke:var(--a)}.line.system1{stroke:var(--b)}
.line.system2{stroke:var(--c)}.line.system3{stroke:var(--d)}
.grid{stroke:var(--line);fill:none}.whisker{stroke:var(--ink);stroke-opacity:.65;fill:none}
.diagonal{stroke:var(--soft);stroke-dasharray:4 4;fill:none}
.dot{fill-opacity:.55}.dot.up{fill:var(--up)}.dot.down{fill:var(--down)}.dot.level{fill:var(--soft)}
pre{background:var(--panel);padding:12px;overflow-x:auto;font-size:12px;border-radius:6px;white-space:pre-wrap}
ul{margin:4px 0;padding-left:20px;color:var(--soft)}
"""


def page_of(title: str, body: Iterable[str]) -> str:
    """Return a whole page that needs nothing beside it; `body` is HTML."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main>{''.join(body)}</main></body></html>\n"
    )


def table(headings: Iterable[str], rows: Iterable[Sequence[str]], *, kind: str = "") -> str:
    """Return a table, of a class of the style where one is named; cells are HTML already, headings are text."""
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="scroll {kind}"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def bullets(items: Sequence[str]) -> str:
    """Return a list of texts; nothing for none."""
    return f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in items)}</ul>" if items else ""


def section(title: str, content: str) -> str:
    """Return HTML under a heading."""
    return f"<section><h2>{escape(title)}</h2>{content}</section>"


def signed(value: float, decimals: int) -> str:
    """Return a number with its sign, coloured by it."""
    kind = "up" if value > 0 else "down" if value < 0 else ""
    return f'<span class="{kind}">{value:+.{decimals}f}</span>'


def circumstances(system: System, environment: Environment, *, created: str) -> str:
    """Return what a system was measured with: command, versions, machine, spec and date."""
    versions = ", ".join(f"{name} {version}" for name, version in environment.versions.items())
    lines = (
        f"$ {environment.command}",
        f"Python {environment.python}; {versions}",
        f"{environment.processor}, {environment.cpus} CPUs, {environment.memory_gib} GiB; {environment.system}",
        f"spec {system.spec.digest() if system.spec else 'none'}; {created}",
    )
    return f"<p>{escape(system.label)}</p><pre>{escape(chr(10).join(lines))}</pre>"
