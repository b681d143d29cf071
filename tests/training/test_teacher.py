"""The teacher: the term's value and gradient, and runs that learn from another encoder."""

from __future__ import annotations

import pytest
import torch

from reasonembed_rag import Encoder
from reasonembed_rag.errors import TrainingError
from reasonembed_training.data import Labels
from reasonembed_training.log import read_metrics
from reasonembed_training.objective import Objective, ReferenceVectors
from reasonembed_training.trainer import train

TEMPERATURE, WEIGHT = 0.1, 1.5
POSITIVES = (0, 2)


def unit(*shape):
    return torch.nn.functional.normalize(torch.randn(*shape, dtype=torch.float64), dim=-1)


def labels():
    return Labels(
        positives=torch.tensor(POSITIVES),
        document_keys=torch.arange(5),
        left_out_keys=tuple(torch.tensor([key]) for key in POSITIVES),
        owners=torch.tensor([0, 0, 1, 1, 1]),
        grades=torch.full((5,), float("nan"), dtype=torch.float64),
    )


def test_the_term_is_the_divergence_over_all_documents_from_a_teacher_of_another_dimension():
    torch.manual_seed(3)
    queries, documents = unit(2, 4).requires_grad_(), unit(5, 4).requires_grad_()
    taught = ReferenceVectors(queries=unit(2, 7), documents=unit(5, 7))
    objective = Objective(temperature=TEMPERATURE, teacher=WEIGHT)
    loss = objective(queries, documents, labels(), taught=taught)
    gradient = torch.autograd.grad(loss.loss, documents)[0]

    terms, distances = [], []
    for row, positive in enumerate(POSITIVES):
        scores = queries[row] @ documents.T / TEMPERATURE
        wanted = torch.softmax(taught.queries[row] @ taught.documents.T / TEMPERATURE, 0)
        distances.append((wanted * (wanted.log() - torch.log_softmax(scores, 0))).sum())
        terms.append(torch.logsumexp(scores, 0) - scores[positive] + WEIGHT * distances[-1])
    written_out = torch.stack(terms).mean()
    assert loss.loss.item() == pytest.approx(written_out.item(), abs=1e-12)
    torch.testing.assert_close(loss.distance, torch.stack(distances).detach())
    torch.testing.assert_close(gradient, torch.autograd.grad(written_out, documents)[0])


def run_of(make_recipe, tmp_path, teacher, *, weight, name):
    recipe = make_recipe(
        run={"output": str(tmp_path / name)},
        teacher={"model": str(teacher), "weight": weight, "max_document_length": 12, "dtype": "float32"},
        redapter={"enabled": False},
        loss={"temperature": 0.1},
        optim={"max_steps": 40, "lr": 1e-2},
        dev={"sets": []},
    )
    assert f"taught by {teacher}" in (train(recipe).model / "README.md").read_text()
    return [line["distance"] for line in read_metrics(recipe.run.output / "metrics.jsonl")]


def test_a_run_comes_closer_to_its_teacher_whose_vectors_are_computed_once(
    make_recipe, tmp_path, tiny_model, monkeypatch
):
    teacher = tiny_model("qwen3")
    faint = run_of(make_recipe, tmp_path, teacher, weight=1e-9, name="faint")
    assert (tmp_path / "cache" / "teacher").is_dir()
    computed = []
    monkeypatch.setattr(Encoder, "_encode_all", lambda self, texts, call, **_: computed.extend(texts))
    strong = run_of(make_recipe, tmp_path, teacher, weight=30.0, name="strong")
    assert computed == []
    assert strong[0] == pytest.approx(faint[0], abs=1e-5)
    assert sum(strong[20:]) < 0.5 * sum(faint[20:])


def test_without_a_weight_there_is_no_teacher_and_a_weight_needs_one(make_recipe, tmp_path):
    outcome = train(recipe := make_recipe(teacher={"model": "nowhere"}, dev={"sets": []}))
    assert "taught" not in (outcome.model / "README.md").read_text()
    assert {line["distance"] for line in read_metrics(recipe.run.output / "metrics.jsonl")} == {None}
    with pytest.raises(TrainingError, match=r"\bteacher\.model is missing\b"):
        make_recipe(teacher={"weight": 1.0})
    with pytest.raises(TrainingError, match=r"\bteacher\.weight is -1"):
        make_recipe(teacher={"model": "nowhere", "weight": -1})
    for settings, said in (({}, "nowhere.*no such"), ({"model": "default-base", "dtype": "int9"}, "dtype is 'int9'")):
        with pytest.raises(TrainingError, match=rf"^\[teacher\]: {said}"):
            train(
                make_recipe(teacher={"model": "nowhere", "weight": 1.0} | settings, run={"output": str(tmp_path / "x")})
            )
