"""The tree of errors.

Every error that the project raises on purpose derives from ReasonEmbedError and says what was wrong,
what it got, what it wanted and the cure.

    ReasonEmbedError
    ├── InputError (ValueError)             an argument, text or file that cannot be used
    │   └── UnknownTaskError                a task name without a card
    ├── ModelError                          a model folder or checkpoint that cannot be loaded
    │   └── BackendError                    a worker, device or remote server failed while encoding
    │       └── OutageError                 so that no text can have caused it: the next one would fail too
    ├── StoreError                          an index that cannot be read, written or trusted
    │   └── SpecMismatchError               an index or cache built with another model
    ├── EvaluationError                     a retriever or report that cannot be scored
    ├── TrainingError                       a recipe, data set or checkpoint that cannot train
    ├── ChatError                           a chat model that cannot be asked or does not answer
    └── MissingDependencyError (ImportError)    an extra that is not installed
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = [
    "BackendError",
    "ChatError",
    "EvaluationError",
    "InputError",
    "MissingDependencyError",
    "ModelError",
    "OutageError",
    "ReasonEmbedError",
    "SpecMismatchError",
    "StoreError",
    "TrainingError",
    "UnknownTaskError",
    "want_one_of",
]


class ReasonEmbedError(Exception):
    """Any error raised on purpose by this project."""


class InputError(ReasonEmbedError, ValueError):
    """An argument, text or file that cannot be used."""


class UnknownTaskError(InputError):
    """A task name for which no card is known."""


class ModelError(ReasonEmbedError):
    """A model folder or checkpoint that cannot be loaded."""


class BackendError(ModelError):
    """A worker, device or remote server that failed while encoding."""


class OutageError(BackendError):
    """A failure that no text can have caused: a worker died, a server stays away or refuses the key or the model."""


class StoreError(ReasonEmbedError):
    """An index that cannot be read, written or trusted."""


class SpecMismatchError(StoreError):
    """An index or cache that was built with another model."""


class EvaluationError(ReasonEmbedError):
    """A retriever or report that cannot be scored."""


class TrainingError(ReasonEmbedError):
    """A recipe, data set or checkpoint that cannot train."""


class ChatError(ReasonEmbedError):
    """A chat model that cannot be asked or does not answer, with what its server said where there is one."""

    def __init__(self, message: str, *, status_code: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.retry_after = retry_after
        """Seconds that the server asks clients to wait."""


class MissingDependencyError(ReasonEmbedError, ImportError):
    """An optional dependency that is not installed."""

    def __init__(self, package: str, extra: str | None = None, *, cure: str | None = None) -> None:
        cure = cure or f"pip install 'reasonembed-rag[{extra}]'"
        super().__init__(f"{package} is not installed: {cure}")
        self.package = package
        self.extra = extra


def want_one_of(value: object, known: Iterable[object]) -> str:
    """Return the cure for a value that is none of these, for the end of a message: the nearest one, and all of them."""
    from difflib import get_close_matches

    names = [str(one) for one in known]
    folded = {name.casefold(): name for name in names}
    close = get_close_matches(str(value).casefold(), folded, n=1, cutoff=0.6)
    all_of_them = f"one of {', '.join(names) or 'none'}"
    return f"did you mean {folded[close[0]]!r}? Want {all_of_them}" if close else f"want {all_of_them}"
