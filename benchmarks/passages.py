"""Compare passages of at most 160 words (split_passages) with passages by the model's own tokens (passage_splitter).

python benchmarks/passages.py dev|needle [--model default] [--tokens 150 200 ...]
python benchmarks/passages.py window FOLDER... [--model default]

dev: nDCG@10 and recall@10 of the dev questions of python_reference over both splits of its topics, and the share of
their evidence in the best passages of 2,560 tokens together, which is fair to passages of different sizes. needle: the
last 14 words of every passage of words that the model does not read are the query; it is found if a passage with at
least half of them is among the first five. window: the share of a folder's tokens beyond what the model reads.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from pydoc_data.topics import topics

from reasonembed_rag import Encoder
from reasonembed_rag.documents import Document
from reasonembed_rag.encoder import passage_splitter
from reasonembed_rag.evaluation import Example, RetrievalTask, evaluate_embedder
from reasonembed_rag.evaluation.python_reference import load_python_reference, python_reference_documents
from reasonembed_rag.passages import Passage, PassageSplitter, split_passages
from reasonembed_rag.retrieval import DenseRetriever
from reasonembed_readers import PassedOver, file_kind, read_file

_NEEDLE = 14
_BUDGET = 2560
_LAYOUT = re.compile(r"[\s\"'`*|]+")
_MARK = re.compile(r"\[\d+\]")

Split = Callable[[str], Sequence[Passage]]


def _squeezed(text: str) -> str:
    return _LAYOUT.sub("", text)


def _documents(split: Split) -> list[Document]:
    """Return the passages of the topics, shortest topic first, without those whose lines were all there before.

    Topics overlap, and passages by tokens of the same text end elsewhere under a longer trail of headings.
    """
    found: list[Document] = []
    seen: set[str] = set()
    for topic in sorted(topics, key=lambda name: (len(topics[name]), len(name), name)):
        passages = split(topics[topic])
        lines = [{key for line in passage.text.splitlines() if (key := _key(line))} for passage in passages]
        found += [
            Document(f"{topic}/{number}", passage.content)
            for number, (passage, own) in enumerate(zip(passages, lines, strict=True), start=1)
            if not own or own - seen
        ]
        seen.update(*lines)
    return found


def _key(line: str) -> str:
    return _MARK.sub("[]", "".join(line.split()))


def _gold(example: Example, contents: dict[str, str]) -> tuple[str, ...]:
    """Return the passages with a quote of the evidence, or with a half of one that was split."""
    gold: dict[str, None] = {}
    for quote in map(_squeezed, example.extra["evidence"]):
        halves = (quote[: len(quote) // 2], quote[len(quote) // 2 :])
        for parts in ((quote,), halves):
            matches = [name for name, text in contents.items() if any(part in text for part in parts)]
            if matches:
                break
        gold.update(dict.fromkeys(matches))
    return tuple(gold)


def _dev(encoder: Encoder, name: str, documents: Sequence[Document]) -> None:
    contents = {document.id: _squeezed(document.content) for document in documents}
    asked = load_python_reference("dev").examples
    examples = tuple(replace(example, gold_ids=_gold(example, contents)) for example in asked)
    task = RetrievalTask("python_reference", "dev", tuple(documents), examples)
    report = evaluate_embedder(encoder, task)
    share = _within_budget(encoder, documents, examples)
    gold = sum(len(example.gold_ids) for example in examples) / len(examples)
    print(
        f"{name:12} {len(documents):5} passages, {gold:.2f} gold each: "
        + "".join(f"{measure} {report.mean(measure):.3f}, " for measure in ("nDCG@10", "recall@10"))
        + f"{share:.3f} of the evidence within {_BUDGET:,} tokens",
        flush=True,
    )


def _within_budget(encoder: Encoder, documents: Sequence[Document], examples: Sequence[Example]) -> float:
    """Return the mean share of an example's quotes in the best passages, read until the budget is spent."""
    contents = {document.id: document.content for document in documents}
    spans = encoder.passage_splitter().spans(list(contents.values()))
    sizes = dict(zip(contents, map(len, spans), strict=True))
    hits = DenseRetriever(encoder, documents).search([example.query for example in examples], k=100)
    shares = []
    for example, hit in zip(examples, hits, strict=True):
        ends = accumulate(sizes[name] for name in hit.ids)
        names = [name for name, end in zip(hit.ids, ends, strict=True) if end <= _BUDGET]
        text = " ".join(_squeezed(contents[name]) for name in names)
        quotes = [_squeezed(quote) for quote in example.extra["evidence"]]
        halves = [(quote[: len(quote) // 2], quote[len(quote) // 2 :]) for quote in quotes]
        shares.append(sum(a in text and b in text for a, b in halves) / len(halves))
    return sum(shares) / len(shares)


def _needles(splitter: PassageSplitter) -> Iterator[list[str]]:
    """Yield the last words of each passage of words of which the model reads none."""
    for document in python_reference_documents():
        spans = splitter.spans([document.content])[0]
        words = list(re.finditer(r"\S+", document.content))
        if len(spans) > splitter.limit and spans[splitter.limit - 1][1] <= words[-_NEEDLE].start():
            yield [word[0] for word in words[-_NEEDLE:]]


def _needle(encoder: Encoder, name: str, documents: Sequence[Document]) -> None:
    needles = list(_needles(encoder.passage_splitter()))
    contents = {document.id: "".join(document.content.split()) for document in documents}
    retriever = DenseRetriever(encoder, documents)
    hits = retriever.search([" ".join(needle) for needle in needles], k=5)
    half = _NEEDLE // 2
    parts = [("".join(needle[:half]), "".join(needle[half:])) for needle in needles]
    found = sum(
        any(a in contents[i] or b in contents[i] for i in hit.ids) for hit, (a, b) in zip(hits, parts, strict=True)
    )
    print(f"{name:12} {len(documents):5} passages: {found} of {len(needles)} needles among the first five", flush=True)


def _window(splitter: PassageSplitter, folder: Path) -> None:
    texts = [
        part.text
        for path in sorted(folder.rglob("*"))
        if path.suffix in {".md", ".rst", ".txt"} and path.is_file() and not isinstance(file_kind(path), PassedOver)
        for part in _parts(path)
    ]
    start = time.process_time()
    splits: dict[str, Split] = {"160 words": split_passages, "tokens": lambda text: splitter.split(text).passages}
    for name, split in splits.items():
        count = passages = beyond = 0
        for text in texts:
            sizes = [len(spans) for spans in splitter.spans([passage.content for passage in split(text)])]
            count, passages = count + sum(sizes), passages + len(sizes)
            beyond += sum(max(0, size - splitter.limit) for size in sizes)
        seconds, start = time.process_time() - start, time.process_time()
        print(
            f"{folder}: {len(texts)} texts, {name}: {passages} passages, {count:,} tokens, "
            f"{beyond / max(count, 1):.1%} ({beyond:,}) beyond {splitter.limit}; {seconds:.0f} s",
            flush=True,
        )


def _parts(path: Path) -> list:
    try:
        return list(read_file(path))
    except Exception:  # noqa: BLE001 - damaged files are not what is measured
        return []


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["dev", "needle", "window"])
    parser.add_argument("folders", type=Path, nargs="*")
    parser.add_argument("--model", default="default")
    parser.add_argument("--tokens", type=int, nargs="*", default=[None])
    arguments = parser.parse_args()
    if arguments.what == "window":
        for folder in arguments.folders:
            _window(passage_splitter(arguments.model, tokens=arguments.tokens[0]), folder)
        return
    encoder = Encoder.from_pretrained(arguments.model)
    measure = {"dev": _dev, "needle": _needle}[arguments.what]
    measure(encoder, "160 words", _documents(split_passages))
    for tokens in arguments.tokens:
        splitter = encoder.passage_splitter(tokens=tokens)
        documents = _documents(lambda text, splitter=splitter: splitter.split(text).passages)
        measure(encoder, f"{splitter.target} tokens", documents)


if __name__ == "__main__":
    main()
