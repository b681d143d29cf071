"""The model card and the training record of an exported model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag import __version__
from reasonembed_rag.evaluation import bootstrap_intervals
from reasonembed_rag.spec import EmbeddingSpec
from reasonembed_training.checkpoint import TrainingProgress
from reasonembed_training.config import Recipe
from reasonembed_training.dev_eval import Measurement
from reasonembed_training.recipe import recipe_to_json

__all__ = ["TrainedRun", "model_card", "training_record"]

_LIMITS = """## Limits

The dev scores are measured on the sets above and do not carry over to other domains or languages. Training data may
contain unlabelled positives. The model inherits known biases of its base."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedRun:
    """Facts about a finished run."""

    recipe: Recipe
    spec: EmbeddingSpec
    progress: TrainingProgress
    steps: int
    """Planned steps."""
    rows: Mapping[str, int]
    """Rows per task."""
    without_reasoning: int
    """Rows without a reasoning query."""
    trained: Measurement | None
    """Dev scores of the exported weights."""
    started_from: Mapping[str, Any] | None = None
    """The training record of the adapter that training started from, if it has one."""


def training_record(run: TrainedRun) -> str:
    """Return the run as JSON: recipe, data digest, steps, time, and dev scores per query."""
    record = {
        "recipe": json.loads(recipe_to_json(run.recipe)),
        "data_digest": run.progress.data,
        "rows": dict(run.rows),
        "rows_without_reasoning": run.without_reasoning,
        "steps": run.progress.step,
        "planned_steps": run.steps,
        "seconds": round(run.progress.seconds, 1),
        "tokens": run.progress.tokens,
        "processes": run.progress.world,
        "version": __version__,
        "dev_base": asdict(run.progress.base) if run.progress.base else None,
        "dev_trained": asdict(run.trained) if run.trained else None,
    }
    if run.started_from is not None:
        record["started_from"] = run.started_from
    return json.dumps(record, indent=1, ensure_ascii=False)


def model_card(run: TrainedRun) -> str:
    """Return the model card, Markdown with the hub's front matter."""
    name, model = run.recipe.run.output.name, run.recipe.model.name
    library = "reasonembed-rag" if run.recipe.latent.tokens else "sentence-transformers"
    front = ["---", f"library_name: {library}", "pipeline_tag: sentence-similarity"]
    if "/" in model and not model.startswith((".", "/", "~")):
        front.append(f"base_model: {model}")
    kind = "latent-memory" if run.recipe.latent.tokens else "redapter"
    front += ["tags:", *(f"- {tag}" for tag in ("feature-extraction", "retrieval", "reasonembed", kind)), "---"]
    parts = [
        "\n".join(front),
        f"# {name}",
        f"{model}, trained for reasoning-intensive retrieval (arXiv 2510.08252) with reasonembed-rag {__version__}.",
        _use(run),
        _measured(run),
        _training(run),
        _LIMITS,
    ]
    return "\n\n".join(parts) + "\n"


def _use(run: TrainedRun) -> str:
    if latents := run.recipe.latent.tokens:
        return (
            f"A GRC-style reconstruction (arXiv 2605.09100): {latents} latents behind a text give its vector and a "
            "memory, from which the frozen decoder answers.\n\n"
            "## Use\n\n```python\nfrom pathlib import Path\n\n"
            "from reasonembed_rag.memory import load_latent\n\n"
            'loaded = load_latent(Path("path/to/this/folder"))\n'
            "reading = loaded.model([token_ids])  # vectors and memories, as LatentModel describes\n```"
        )
    needs = "query, task=..." if run.spec.takes_instruction else "query"
    return (
        "## Use\n\n```python\nfrom reasonembed_rag import Encoder\n\n"
        'encoder = Encoder.from_pretrained("path/to/this/folder")\n'
        f"scores = encoder.encode_queries([{needs}]) @ encoder.encode_documents(documents).T\n```\n\n"
        "or with sentence-transformers:\n\n```python\nfrom sentence_transformers import SentenceTransformer\n\n"
        'model = SentenceTransformer("path/to/this/folder")\n'
        "scores = model.similarity(model.encode_query([query]), model.encode_document(documents))\n```"
    )


def _measured(run: TrainedRun) -> str:
    base, trained = run.progress.base, run.trained
    if base is None or trained is None:
        return "## Scores\n\nNot measured: the recipe has no dev sets."
    lines = [
        "## Scores",
        "",
        "nDCG@10, with the 95 % bootstrap interval of the paired difference over queries.",
        "The exported step was chosen by these dev sets, so the difference is biased upwards."
        if run.recipe.dev.keep == "best"
        else "The last step is exported.",
        "",
        "| dev set | queries | base | trained | difference |",
        "|---|---|---|---|---|",
    ]
    groups = []
    for before, after in zip(base.scores, trained.scores, strict=True):
        difference = np.asarray([after.per_query[query] - one for query, one in before.per_query.items()])
        groups.append(difference)
        gain = _interval([difference])
        lines.append(f"| {before.name} | {len(difference)} | {before.mean:.4f} | {after.mean:.4f} | {gain} |")
    queries = sum(map(len, groups))
    lines.append(f"| mean | {queries} | {base.mean:.4f} | {trained.mean:.4f} | {_interval(groups)} |")
    return "\n".join(lines)


def _interval(groups: Sequence[NDArray[np.float64]]) -> str:
    mean = float(np.mean([differences.mean() for differences in groups]))
    (interval,) = bootstrap_intervals([differences[:, None] for differences in groups])
    return f"{mean:+.4f} [{interval.low:+.4f}, {interval.high:+.4f}]"


def _training(run: TrainedRun) -> str:
    recipe, progress = run.recipe, run.progress
    kind = "Redapter" if recipe.redapter.enabled else "InfoNCE"
    tuned = f"LoRA of rank {recipe.lora.rank}" if recipe.model.tuning == "lora" else "all weights"
    if recipe.lora.start is not None:
        tuned += f", started from the adapter {recipe.lora.start}"
    taught = f", taught by {recipe.teacher.model}" if recipe.teacher.weight else ""
    rows = ", ".join(f"{task} ({count} rows)" for task, count in run.rows.items())
    if recipe.redapter.enabled:
        rows += f"; {run.without_reasoning} of the rows have no reasoning query"
    return (
        "## Training\n\n"
        f"{kind}, {tuned}{taught}, {progress.step} of {run.steps} steps, {progress.tokens:,} tokens of queries and "
        f"documents in {progress.seconds:,.0f} seconds on {progress.world} "
        f"process{'es' if progress.world > 1 else ''}, "
        f"seed {recipe.run.seed}.\n\nData: {rows}; digest `{progress.data}`.\n\n"
        "`training.json` has every setting and the scores per query; `reasonembed train run` with the same recipe and "
        "data reproduces the model."
    )
