"""One model gives one robustness report through core, LangChain and LlamaIndex."""

import dataclasses

import pytest

pytest.importorskip("langchain_core", reason="langchain-core is not installed")
pytest.importorskip("llama_index.core", reason="llama-index-core is not installed")

from reasonembed_cli.system_choice import SystemChoice
from reasonembed_cli.systems import describe_system, open_retriever
from reasonembed_rag.documents import Document
from reasonembed_rag.encoder import EncoderSettings
from reasonembed_rag.evaluation import Example, RetrievalTask, RunOptions
from reasonembed_rag.perturb import Rewording, Thesaurus
from reasonembed_rag.robustness.drop import RobustnessOptions, robustness

_DOCUMENTS = tuple(
    Document(f"d{n}", f"{a} {b} on the earth")
    for n, (a, b) in enumerate(
        (a, b) for a in ("planets", "cells", "rivers") for b in ("move", "grow", "divide", "shine")
    )
)
_EXAMPLES = tuple(
    Example(f"q{n}", f"why would {document.content} again", (document.id,), (f"d{(n + 1) % 12}",))
    for n, document in enumerate(_DOCUMENTS)
)
_TASK = RetrievalTask("biology", None, _DOCUMENTS, _EXAMPLES)
_REWORDING = Rewording(
    thesauri=(Thesaurus("test", {"planet": ("globe",), "grow": ("sprout",)}),),
    paraphraser=lambda text: f"tell me {text}",
)


def _report(through):
    choice = SystemChoice(settings=EncoderSettings(model="words"), through=through)
    options = RobustnessOptions(seeds=(5, 27), rewording=_REWORDING, asking=RunOptions(k=10))
    with open_retriever(choice, _TASK) as retriever:
        return robustness(retriever, _TASK, system=describe_system(choice, _TASK), options=options)


@pytest.mark.parametrize("through", ["langchain", "llama-index"])
def test_the_report_of_a_framework_is_the_core_s(words, through):
    core, other = _report("core"), _report(through)
    assert other.system.through == through
    assert other.kinds == core.kinds
    assert (other.skipped, other.notes, other.variants) == (core.skipped, core.notes, core.variants)
    assert dataclasses.replace(other.task) == core.task
    for name in ("queries", "mean_all", "intervals", "slices"):
        ours, theirs = getattr(core.clean, name), getattr(other.clean, name)
        if name == "queries":
            ours, theirs = ([dataclasses.replace(q, seconds=None) for q in side] for side in (ours, theirs))
        assert theirs == ours
    assert core.kind("misspelling").drops["nDCG@10"].rate > 0
