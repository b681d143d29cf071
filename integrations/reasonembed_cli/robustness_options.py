"""The options of `reasonembed robustness`: how queries are perturbed, and how the corpus is poisoned."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from reasonembed_rag.errors import InputError, want_one_of

if TYPE_CHECKING:
    from reasonembed_rag.evaluation import RunOptions
    from reasonembed_rag.perturb import PerturbationKind, Rewording
    from reasonembed_rag.robustness import RobustnessOptions

__all__ = ["PerturbationOptions", "PoisonOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PerturbationOptions:
    """Which perturbations are made, and what they take words from."""

    panel: ClassVar[str] = "Perturbations"
    kinds: Annotated[str, typer.Option(help="all, or comma-separated kinds of perturbation.")] = "all"
    seeds: Annotated[str, typer.Option(help="Comma-separated seeds.")] = "1999,5,27,2016,2026"
    thesaurus: Annotated[
        list[Path] | None,
        typer.Option(help="A WordNet folder, a MyThes .dat file or word vectors as .txt; searched for by default."),
    ] = None
    judge: Annotated[
        str | None, typer.Option(help="A second model, which must rate a query with synonyms as equivalent.")
    ] = None
    threshold: Annotated[float, typer.Option(help="The least cosine at which the judge accepts.")] = 0.7
    paraphrase: Annotated[
        str | None, typer.Option(help="A chat model that paraphrases, such as openai:gpt-4o-mini.")
    ] = None
    base_url: Annotated[str | None, typer.Option(help="The chat model's OpenAI-compatible server.")] = None
    workers: Annotated[int, typer.Option(help="Concurrent requests to the chat model.")] = 8

    def open(self, running: RunOptions) -> RobustnessOptions:
        """Return the options with thesauri, judge and chat model opened; raises InputError for one that cannot be."""
        from reasonembed_rag.robustness import RobustnessOptions

        return RobustnessOptions(
            kinds=_kinds(self.kinds), seeds=_seeds(self.seeds), rewording=self._rewording(), asking=running
        )

    def _rewording(self) -> Rewording:
        from reasonembed_cli.chat_models import open_chat_model
        from reasonembed_rag.encoder import EncoderSettings, shared_encoder
        from reasonembed_rag.perturb import Rewording, chat_paraphraser, open_thesaurus

        if self.base_url is not None and self.paraphrase is None:
            raise InputError(f"got --base-url {self.base_url} without a chat model; name one with --paraphrase")
        chat = open_chat_model(self.paraphrase, base_url=self.base_url) if self.paraphrase else None
        return Rewording(
            thesauri=tuple(open_thesaurus(path) for path in self.thesaurus or ()),
            judge=shared_encoder(EncoderSettings(model=self.judge)).embedder if self.judge is not None else None,
            threshold=self.threshold,
            paraphraser=chat_paraphraser(chat) if chat is not None else None,
            workers=self.workers,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PoisonOptions:
    """The poisoning audit."""

    panel: ClassVar[str] = "Poison"
    poison: Annotated[int, typer.Option(help="Passages of a poisoning audit (10 or 50); 0 for no audit.")] = 0
    poison_steps: Annotated[int, typer.Option(help="Steps of HotFlip; the papers' 5000 need a GPU.")] = 100
    poison_split: Annotated[
        str | None, typer.Option(help="The split whose queries the attacker knows; half of the task's by default.")
    ] = None


def _kinds(names: str) -> tuple[PerturbationKind, ...]:
    """Parse a comma-separated list of kinds."""
    from reasonembed_rag.perturb import PERTURBATION_KINDS

    chosen = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in chosen if name not in {*PERTURBATION_KINDS, "all"}]
    if unknown or not chosen:
        cure = want_one_of(unknown[0] if unknown else names, ("all", *PERTURBATION_KINDS))
        raise InputError(f"kinds is {names!r}; {cure}, or several with commas between them")
    return PERTURBATION_KINDS if "all" in chosen else tuple(kind for kind in PERTURBATION_KINDS if kind in chosen)


def _seeds(numbers: str) -> tuple[int, ...]:
    try:
        return tuple(int(number) for number in numbers.split(","))
    except ValueError as error:
        raise InputError(f"seeds is {numbers!r}; want comma-separated whole numbers, such as 1999,5,27") from error
