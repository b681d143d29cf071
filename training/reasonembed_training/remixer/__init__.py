"""ReMixer: training rows from any corpus with any chat model.

Method: ReasonEmbed, arXiv 2510.08252. The document that a query was written from is discarded; its positives are found
among the other documents by a model that reasons about each of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reasonembed_rag.lazy import lazy_face

if TYPE_CHECKING:
    from reasonembed_training.remixer.agreement import JudgeAgreement, agreement_to_json, measure_agreement, read_grades
    from reasonembed_training.remixer.cards import card_to_toml, load_card, shipped_cards
    from reasonembed_training.remixer.config import (
        MODEL_STAGES,
        STAGES,
        ModelStage,
        RemixConfig,
        Stage,
        read_config,
        read_settings,
        stage_config,
    )
    from reasonembed_training.remixer.corpus import read_corpus
    from reasonembed_training.remixer.drafting import blank_card, draft_card, sample_documents
    from reasonembed_training.remixer.folder import StageState
    from reasonembed_training.remixer.mining import MakeRetriever
    from reasonembed_training.remixer.plan import Plan, make_plan
    from reasonembed_training.remixer.quality import Quality, measure_quality, quality_page
    from reasonembed_training.remixer.run import remix
    from reasonembed_training.remixer.sft import export_sft

__all__ = [
    "MODEL_STAGES",
    "STAGES",
    "JudgeAgreement",
    "MakeRetriever",
    "ModelStage",
    "Plan",
    "Quality",
    "RemixConfig",
    "Stage",
    "StageState",
    "agreement_to_json",
    "blank_card",
    "card_to_toml",
    "draft_card",
    "export_sft",
    "load_card",
    "make_plan",
    "measure_agreement",
    "measure_quality",
    "quality_page",
    "read_config",
    "read_corpus",
    "read_grades",
    "read_settings",
    "remix",
    "sample_documents",
    "shipped_cards",
    "stage_config",
]

__getattr__, __dir__ = lazy_face(__name__)
