"""Answers with citations, through LangChain: python examples/langchain_rag.py guide.index "Which files are read?".

The answering model is that of any OpenAI-compatible server: OPENAI_BASE_URL, OPENAI_API_KEY and OPENAI_MODEL name it.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence

try:
    from langchain_core.documents import Document
    from langchain_core.output_parsers import StrOutputParser
    from langchain_core.prompts import ChatPromptTemplate
    from langchain_openai import ChatOpenAI
    from openai import OpenAIError

    from langchain_reasonembed import ReasonEmbedRetriever
    from reasonembed_rag.errors import ReasonEmbedError
    from reasonembed_stores import citation
except ImportError as error:
    sys.exit(__doc__ if "--help" in sys.argv else f"{error}; pip install '.[all]' langchain-openai")

RULES = (
    "Answer from the numbered passages alone. After each statement name the passages that support it, like [1] or "
    "[2][3]. If the passages do not answer the question, say so and name none."
)
PROMPT = ChatPromptTemplate.from_messages([("system", RULES), ("human", "{passages}\n\nQuestion: {question}")])


def numbered(documents: Sequence[Document]) -> str:
    """Return the passages as the model reads them, from [1]."""
    return "\n\n".join(f"[{number}] {document.page_content}" for number, document in enumerate(documents, start=1))


def cited(answer: str, documents: Sequence[Document]) -> list[str]:
    """Return a line for each passage that an answer names; a number without a passage is told, not dropped."""
    lines = []
    for number in sorted({int(found) for found in re.findall(r"\[(\d+)]", answer)}):
        exists = 1 <= number <= len(documents)
        lines.append(f"[{number}] {citation(documents[number - 1]) if exists else 'is no passage that was given'}")
    return lines


def main(index: str, question: str) -> None:
    """Find passages, answer from them, and say where each stands."""
    documents = ReasonEmbedRetriever(index=index, k=5, hybrid=0.25).invoke(question)
    chain = PROMPT | ChatOpenAI(model=os.environ.get("OPENAI_MODEL", "gpt-4o-mini"), temperature=0) | StrOutputParser()
    answer = chain.invoke({"passages": numbered(documents), "question": question})
    print(answer)
    for line in cited(answer, documents):
        print(line)


if __name__ == "__main__":
    if "--help" in sys.argv:
        print(__doc__)
        sys.exit()
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except (ReasonEmbedError, OpenAIError) as error:
        sys.exit(f"error: {error}")
