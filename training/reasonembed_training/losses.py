"""Losses per query: InfoNCE with masked candidates, distillation from grades, consistency, KL to a reference model.

Shapes: Q queries, N documents of the whole batch, K keys of one query. A score is a similarity before the temperature.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from reasonembed_rag.errors import InputError

__all__ = ["consistency", "distillation", "info_nce", "kl_to_reference", "known_positives", "left_out"]


def known_positives(document_keys_N: Tensor, known_keys: Sequence[Tensor]) -> Tensor:
    """Return (Q, N), true where a document's key is among the known keys of the query.

    Keys are int64: of contents (content_key) or of ids, the same kind on both sides.
    """
    rows = [torch.isin(document_keys_N, keys_K) for keys_K in known_keys]
    return torch.stack(rows) if rows else document_keys_N.new_zeros((0, len(document_keys_N)), dtype=torch.bool)


def left_out(
    scores_QN: Tensor, positives_Q: Tensor, *, known_QN: Tensor | None = None, margin: float | None = None
) -> Tensor:
    """Return (Q, N), true where a document is not a candidate for a query; never the query's own positive.

    Known positives are left out and, with a margin, documents that score more than `margin` above the query's
    positive, since they are probably unlabelled positives.
    """
    out_QN = torch.zeros_like(scores_QN, dtype=torch.bool) if known_QN is None else known_QN.clone()
    if margin is not None:
        detached_QN = scores_QN.detach()
        out_QN |= detached_QN > detached_QN.gather(1, positives_Q[:, None]) + margin
    return out_QN.scatter_(1, positives_Q[:, None], value=False)


def info_nce(
    scores_QN: Tensor, positives_Q: Tensor, *, temperature: float = 0.02, left_out_QN: Tensor | None = None
) -> Tensor:
    """Return the InfoNCE loss per query, (Q,): L_i = -log(exp s(q_i, d_i+) / sum over D of exp s(q_i, d)).

    s is score / temperature, D the candidates, positives_Q the column of each query's d+. Raises InputError for shapes
    that do not match and for a temperature that is not positive.
    """
    if scores_QN.ndim != 2 or positives_Q.shape != scores_QN.shape[:1]:
        raise InputError(f"want scores (Q, N) and positives (Q,), got {_shape(scores_QN)} and {_shape(positives_Q)}")
    if left_out_QN is not None and left_out_QN.shape != scores_QN.shape:
        raise InputError(f"want left_out_QN in the scores' shape {_shape(scores_QN)}, got {_shape(left_out_QN)}")
    if not temperature > 0:
        raise InputError(f"temperature is {temperature}; want a number above 0 (the paper uses 0.02)")
    logits_QN = scores_QN / temperature
    if left_out_QN is not None:
        logits_QN = logits_QN.masked_fill(left_out_QN, float("-inf"))
    return functional.cross_entropy(logits_QN, positives_Q, reduction="none")


def distillation(
    scores_QN: Tensor, grades_QN: Tensor, *, temperature: float = 0.02, grade_temperature: float = 1.0
) -> Tensor:
    """Return KL(softmax(grades) || softmax(scores)) per query over its own graded documents, (Q,).

    grades_QN is NaN where a document has no grade for the query; a query with fewer than two grades has loss 0.
    """
    graded_QN = ~grades_QN.isnan()
    usable_Q = graded_QN.sum(dim=1) >= 2
    never = torch.finfo(scores_QN.dtype).min
    wanted_QN = functional.softmax((grades_QN / grade_temperature).masked_fill(~graded_QN, never), dim=1)
    log_got_QN = functional.log_softmax((scores_QN / temperature).masked_fill(~graded_QN, never), dim=1)
    terms_QN = torch.special.xlogy(wanted_QN, wanted_QN) - wanted_QN * log_got_QN
    return torch.where(graded_QN & usable_Q[:, None], terms_QN, 0.0).sum(dim=1)


def consistency(scores_QN: Tensor, perturbed_QN: Tensor, *, temperature: float = 0.02) -> Tensor:
    """Return KL(softmax(scores) || softmax(scores of the perturbed query)) per query over all documents, (Q,).

    The query's own scores are the teacher and get no gradient (self-teaching, Zhuang and Zuccon 2022). Raises
    InputError for shapes that do not match.
    """
    if scores_QN.shape != perturbed_QN.shape:
        raise InputError(f"want two equal shapes (Q, N), got {_shape(scores_QN)} and {_shape(perturbed_QN)}")
    log_wanted_QN = functional.log_softmax(scores_QN.detach() / temperature, dim=1)
    log_got_QN = functional.log_softmax(perturbed_QN / temperature, dim=1)
    return functional.kl_div(log_got_QN, log_wanted_QN, reduction="none", log_target=True).sum(dim=1)


def kl_to_reference(
    scores_QN: Tensor, reference_QN: Tensor, positives_Q: Tensor, *, temperature: float = 0.02
) -> Tensor:
    """Return KL(softmax(reference scores) || softmax(scores)) per query over all documents but its positive, (Q,).

    reference_QN are the scores of the reference model, which get no gradient. Raises InputError for shapes that do not
    match.
    """
    if positives_Q.shape != scores_QN.shape[:1]:
        raise InputError(f"want scores (Q, N) and positives (Q,), got {_shape(scores_QN)} and {_shape(positives_Q)}")
    if reference_QN.shape != scores_QN.shape:
        raise InputError(f"want two equal shapes (Q, N), got {_shape(reference_QN)} and {_shape(scores_QN)}")
    others_QN = torch.ones_like(scores_QN, dtype=torch.bool).scatter_(1, positives_Q[:, None], value=False)
    both = [one_QN[others_QN].view(len(one_QN), -1) for one_QN in (reference_QN, scores_QN)]
    return consistency(*both, temperature=temperature)


def _shape(tensor: Tensor) -> tuple[int, ...]:
    return tuple(tensor.shape)
