"""The demo's third step: one question through a LangChain chain and a LlamaIndex retriever."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from reasonembed_rag.errors import EvaluationError, InputError

if TYPE_CHECKING:
    from langchain_core.runnables import Runnable

__all__ = ["ask_frameworks", "load_chat_model"]

_PASSAGES = 3
_FIRST_LINES = re.compile(r"^(?:(?:System|Human|Question): |\[[^\]\n]+/\d+\] ).*", flags=re.MULTILINE)
_SYSTEM = "Answer from the passages below and cite the id of each one you use. Say so if they do not answer it."


def load_chat_model(name: str | None) -> Runnable[Any, Any]:
    """Return a chat model by LangChain's name for it, or a stub that returns its prompt's outline.

    Raises InputError if the model cannot be loaded.
    """
    from langchain_core.runnables import RunnableLambda

    if name is None:
        return RunnableLambda(lambda prompt: _outline(prompt.to_string()))
    try:
        from langchain.chat_models import init_chat_model

        chat_model: Runnable[Any, Any] = init_chat_model(name)
    except ImportError as error:
        raise InputError(
            f"--chat-model {name} needs more packages ({error}): pip install langchain and the provider's, "
            "such as langchain-openai"
        ) from error
    except ValueError as error:
        raise InputError(f"--chat-model {name}: {error}; want provider:model, such as openai:gpt-4o-mini") from error
    return chat_model


def _outline(prompt: str) -> str:
    """Return a prompt with only the first line of each passage."""
    return "\n".join(["(a prompt in outline; --chat-model has it answered)", *_FIRST_LINES.findall(prompt)])


def ask_frameworks(index: Path, question: str, *, chat_model: Runnable[Any, Any], bm25_weight: float = 0.0) -> None:
    """Answer a question with a LangChain chain, search with a LlamaIndex retriever, and compare their top passages.

    Raises EvaluationError if they differ.
    """
    typer.secho("\n[3/4] Ask through LangChain (retriever | prompt | model) and LlamaIndex", bold=True)
    state = _chain(index, chat_model, bm25_weight).invoke(question)
    typer.echo(f"\nLangChain's answer\n{textwrap.indent(state['answer'], '    ')}")
    best = state["documents"][0]
    found = {
        "LangChain": (best.id, best.metadata["reasonembed_score"]),
        "LlamaIndex": _llama_index_top(index, question, bm25_weight),
    }
    for framework, (identity, score) in found.items():
        typer.echo(f"{framework}'s top passage: {identity} ({score:.4f})")
    if len(set(found.values())) > 1:
        raise EvaluationError(f"LangChain and LlamaIndex found different passages: {found}; please report this bug")
    typer.echo("Both found the same passage with the same score.")


def _chain(index: Path, chat_model: Runnable[Any, Any], bm25_weight: float) -> Runnable[Any, Any]:
    from langchain_core.output_parsers import StrOutputParser
    from langchain_core.prompts import ChatPromptTemplate
    from langchain_core.runnables import RunnableParallel, RunnablePassthrough

    from langchain_reasonembed import ReasonEmbedRetriever

    retriever = ReasonEmbedRetriever(index=str(index), k=_PASSAGES, bm25_weight=bm25_weight)
    prompt = ChatPromptTemplate.from_messages(
        [("system", _SYSTEM), ("human", "{passages}\n\nQuestion: {question}")],
    )
    inputs = RunnableParallel(documents=retriever, question=RunnablePassthrough())
    return inputs | RunnablePassthrough.assign(passages=_passages).assign(
        answer=prompt | chat_model | StrOutputParser()
    )


def _passages(state: dict[str, Any]) -> str:
    return "\n\n".join(f"[{document.id}] {document.page_content}" for document in state["documents"])


def _llama_index_top(index: Path, question: str, bm25_weight: float) -> tuple[str, float | None]:
    from llama_index.retrievers.reasonembed import ReasonEmbedRetriever

    best = ReasonEmbedRetriever(str(index), k=_PASSAGES, bm25_weight=bm25_weight).retrieve(question)[0]
    return best.node.node_id, best.score
