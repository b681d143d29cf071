"""How BRIGHT's tasks are called in MTEB."""

from __future__ import annotations

from reasonembed_rag.tasks import BRIGHT_TASKS

__all__ = ["mteb_task_name", "task_of_mteb"]

_IRREGULAR = {"theoremqa_questions": "TheoremQAQuestions", "theoremqa_theorems": "TheoremQATheorems"}
_CAMEL = {name: _IRREGULAR.get(name, name.title().replace("_", "")) for name in BRIGHT_TASKS}


def mteb_task_name(name: str, *, long: bool = False) -> str | None:
    """Return MTEB's name (v1.1) of a task of BRIGHT; None for another task."""
    camel = _CAMEL.get(name.removeprefix("bright_"))
    return f"Bright{camel}{'Long' if long else ''}Retrieval" if camel else None


def task_of_mteb(name: str) -> str | None:
    """Return the task of BRIGHT behind one of MTEB's names; None for another task."""
    return next(
        (task for task in BRIGHT_TASKS for long in (False, True) if mteb_task_name(task, long=long) == name), None
    )
