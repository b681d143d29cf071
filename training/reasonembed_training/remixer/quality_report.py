"""The quality of a run's rows as one HTML page that needs nothing beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape

from reasonembed_training.remixer.quality import Quality, Sample

__all__ = ["quality_page"]

_STYLE = """
:root{color-scheme:light dark;--ink:#1d2330;--soft:#667085;--line:#e3e7ee;--paper:#fff;--panel:#f6f8fb;--bar:#3b6fb6}
@media (prefers-color-scheme:dark){:root{--ink:#e6e9ef;--soft:#98a2b3;--line:#303744;--paper:#14171d;--panel:#1c2129;
--bar:#6ea3e8}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:920px;margin:0 auto;padding:32px 24px 64px}
h1{font-size:24px;margin:0 0 4px}h2{font-size:17px;margin:36px 0 8px}
p{margin:4px 0;color:var(--soft)}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:5px 10px;border-bottom:1px solid var(--line);text-align:right;vertical-align:top}
th{font-weight:600;color:var(--soft)}th:first-child,td:first-child{text-align:left}
.histogram td:last-child{width:60%;text-align:left}
.bar{display:block;height:12px;margin-top:5px;background:var(--bar);border-radius:2px;min-width:1px}
details{margin:8px 0;padding:10px 14px;background:var(--panel);border-radius:6px}
summary{cursor:pointer}
pre{white-space:pre-wrap;overflow-wrap:anywhere;font:13px/1.45 ui-monospace,monospace;margin:6px 0}
.grade{display:inline-block;min-width:22px;font-weight:600}
"""
_SHOWN_DOCUMENTS = 5
_SHOWN_CHARACTERS = 1200


def quality_page(quality: Quality) -> str:
    """Return the page."""
    title = f"{quality.settings.card}: {quality.rows:,} training rows"
    body = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{quality.positives_a_row:.1f} positives and {quality.negatives:.1f} negatives a row, on average.</p>",
        _section("Triviality", _triviality(quality)),
        _section("Grades of all candidates", _histogram(quality.grades)),
        _section("Positives per query", _histogram(quality.positives)),
        _section("Length of queries in words", _lengths(quality)),
        _section("Education that was asked for", _histogram(quality.education)),
        _section("Had judging stopped early", _screening(quality)) if quality.screening else "",
        _section("Stages", _stages(quality)),
        _section("Samples", "".join(map(_sample, quality.samples))),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main>{''.join(body)}</main></body></html>\n"
    )


def _triviality(quality: Quality) -> str:
    overlap = quality.overlap
    rows = [
        ("its source, which was thrown away", f"{100 * overlap.source:.1f} %"),
        ("its positives", f"{100 * overlap.positive:.1f} %"),
        ("its negatives", f"{100 * overlap.negative:.1f} %"),
    ]
    said = (
        f"Before it was taken out, the source was the first hit for {100 * quality.source_first:.1f} % of the queries, "
        f"among the first ten for {100 * quality.source_near_top:.1f} %, and not found for "
        f"{100 * quality.source_unfound:.1f} %."
    )
    head = ("A query's words, stop words aside, that also stand in ...", "on average")
    return _table(head, rows) + f"<p>{escape(said)}</p>"


def _lengths(quality: Quality) -> str:
    rows = [
        (length, f"{quality.drawn_lengths.get(length, 0):,}", f"{count:,}") for length, count in quality.lengths.items()
    ]
    return _table(("words", "asked for", "written"), rows)


def _screening(quality: Quality) -> str:
    rows = [
        (
            f"{one.stop_after} of grade 1 in a row, after {one.at_least}",
            f"{100 * one.judgements_saved:.1f} %",
            f"{100 * one.positives_lost:.1f} %",
            f"{100 * one.queries_lost:.1f} %",
        )
        for one in quality.screening
    ]
    head = ("judge.stop_after", "judgements saved", "positives lost", "queries left without one")
    return _table(head, rows)


def _stages(quality: Quality) -> str:
    rows = [
        (
            stage,
            f"{state.records:,}",
            ", ".join(f"{count:,} {reason}" for reason, count in state.drops.items()) or "none",
            f"{state.spent.calls:,}",
            f"{state.spent.input_tokens:,}",
            f"{state.spent.output_tokens:,}",
            "" if state.spent.cost is None else f"{state.spent.cost:,.2f}",
        )
        for stage, state in quality.states.items()
    ]
    return _table(("stage", "records", "dropped", "calls", "tokens in", "tokens out", "cost"), rows)


def _sample(sample: Sample) -> str:
    row = sample.row
    shown = [("Source, thrown away", sample.source)]
    if row.reasoning_query:
        shown.append(("Reasoning-augmented query", row.reasoning_query))
    inner = "".join(f"<p>{escape(name)}</p><pre>{escape(_cut(text))}</pre>" for name, text in shown)
    inner += _documents("Positives", zip(row.pos_scores, row.pos, strict=True))
    inner += _documents("Negatives", zip(row.neg_scores, row.neg, strict=True))
    return f"<details><summary>{escape(row.id)}<pre>{escape(_cut(row.query))}</pre></summary>{inner}</details>"


def _documents(name: str, graded: Iterable[tuple[int, str]]) -> str:
    every = list(graded)
    shown = "".join(
        f'<pre><span class="grade">{grade}</span>{escape(_cut(content))}</pre>'
        for grade, content in every[:_SHOWN_DOCUMENTS]
    )
    return (
        f"<p>{escape(name)}: {len(every)}, the first {min(len(every), _SHOWN_DOCUMENTS)} with their grades</p>{shown}"
    )


def _histogram(counts: Mapping[str, int] | Mapping[int, int]) -> str:
    most = max(counts.values(), default=0) or 1
    rows = "".join(
        f"<tr><td>{escape(str(name))}</td><td>{count:,}</td>"
        f'<td><span class="bar" style="width:{100 * count / most:.1f}%"></span></td></tr>'
        for name, count in counts.items()
    )
    return f'<table class="histogram">{rows}</table>'


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    headed = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{headed}</tr>{body}</table>"


def _section(title: str, content: str) -> str:
    return f"<h2>{escape(title)}</h2>{content}"


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]} ..."
