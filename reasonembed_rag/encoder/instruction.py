"""What is said before a query: one rule for every encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reasonembed_rag.encoder.tokens import check_words
from reasonembed_rag.errors import InputError
from reasonembed_rag.tasks import get_task

if TYPE_CHECKING:
    from reasonembed_rag.spec import EmbeddingSpec

__all__ = ["query_affixes"]


def query_affixes(spec: EmbeddingSpec, *, task: str | None, instruction: str | None) -> tuple[str, str]:
    """Return what stands before and after a query, the task's instruction or the one given filled in.

    A model that takes no instruction ignores the task and refuses an instruction. Raises InputError for both at once
    and for what is no text, UnknownTaskError for an unknown task.
    """
    if task is not None and instruction is not None:
        raise InputError("got both task and instruction; want one of them")
    for name, words in (("task", task), ("instruction", instruction)):
        if words is not None:
            check_words(words, name=name)
    if instruction is not None and not spec.takes_instruction:
        raise InputError(f"{spec.model} takes no instruction: its query template is bare; leave it out")
    return spec.query_affixes(get_task(task).instruction if task is not None else instruction)
