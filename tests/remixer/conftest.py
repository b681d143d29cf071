"""A corpus, a card, and a chat model without a network that answers as the served one does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest
from chat_server import answer_to

from reasonembed_rag.errors import TrainingError
from reasonembed_rag.files import record_from
from reasonembed_rag.llm import Answer, ChatModel, ChatModelSettings
from reasonembed_rag.retrieval import BM25
from reasonembed_training.remixer.cards import RemixCard, card_to_toml
from reasonembed_training.remixer.config import MODEL_STAGES, RemixConfig, stage_config
from reasonembed_training.remixer.run import remix


class ScriptedModel:
    """Answer as the server does, in this process, and remember every prompt."""

    def __init__(self) -> None:
        self.prompts: Counter[str] = Counter()
        self.lock = threading.Lock()

    def __call__(self, prompt: str) -> str | Answer:
        with self.lock:
            self.prompts[prompt] += 1
        return answer_to(prompt, asked_before=0, faults=False)


@pytest.fixture
def scripted() -> ScriptedModel:
    return ScriptedModel()


@pytest.fixture
def card() -> RemixCard:
    return RemixCard(
        name="birds",
        instruction="Given a question, retrieve passages that help.",
        query_type="question",
        document_type="passage",
        relevance="it helps",
        domain="texts about birds",
        goal="A question.",
    )


@pytest.fixture
def write_corpus(tmp_path: Path):
    """Write documents of known words: write_corpus(50), or those given as {id: content}."""

    def write(documents: int | dict[str, str], name: str = "corpus.jsonl") -> Path:
        if isinstance(documents, int):
            documents = {f"d{number}": _content(number) for number in range(documents)}
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = (json.dumps({"id": one, "content": content}) for one, content in documents.items())
        path.write_text("".join(f"{line}\n" for line in lines))
        return path

    return write


@pytest.fixture
def make_config(tmp_path: Path, card: RemixCard, write_corpus):
    """Make settings of a run in tmp_path: make_config(documents=30, sources={"limit": 5})."""

    def make(documents: int | dict[str, str] = 30, **settings) -> RemixConfig:
        card_path = tmp_path / "birds.toml"
        card_path.write_text(card_to_toml(card))
        table = {
            "corpus": str(settings.pop("corpus", None) or write_corpus(documents)),
            "card": str(card_path),
            "out": str(tmp_path / "run"),
            "model": {"name": "scripted"},
            "sources": {"limit": 5, "min_chars": 1},
            "mine": {"depth": 8},
            "calls": {"concurrency": 4, "first_wait": 0.0},
        }
        for key, value in settings.items():
            table[key] = {**table.get(key, {}), **value} if isinstance(value, dict) else value
        return record_from(RemixConfig, table, where="test", error=TrainingError)

    return make


@pytest.fixture
def models_of():
    """Make the models of a run that all ask one callable."""

    def make(complete, config: RemixConfig | None = None) -> dict[str, ChatModel]:
        def settings(stage):
            named = config.model_of(stage) if config is not None else None
            return stage_config(named or ChatModelSettings(name="scripted"), stage)

        return {stage: ChatModel(complete, settings(stage)) for stage in MODEL_STAGES}

    return make


@pytest.fixture
def run_remix(models_of):
    """Run in this process: run_remix(config, model, until="judge")."""

    def run(config: RemixConfig, complete, **options):
        options.setdefault("make_retriever", BM25)
        return remix(config, models=models_of(complete, config), **options)

    return run


@pytest.fixture
def read_lines():
    """Read a file of JSON lines."""

    def read(path: Path) -> list[dict]:
        return [json.loads(line) for line in path.read_text().splitlines()]

    return read


@pytest.fixture
def command():
    """Start `reasonembed ...` in a process of its own."""
    processes = []

    def start(*arguments: object, **options) -> subprocess.Popen:
        line = [sys.executable, "-c", "import sys; from reasonembed_cli.app import main; sys.exit(main())"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(
            [*line, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            **options,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def _content(number: int) -> str:
    words = ["feather", "nest", "song", "wing", "beak", "migration", "egg", "colour", "flight", "prey"]
    drawn = [words[(number * step + step) % len(words)] for step in range(1, 6)]
    return f"Observation {number} of the {' '.join(drawn)} by ranger{number % 7} near lake{number % 5} in winter."
