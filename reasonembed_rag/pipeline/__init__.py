"""Stages around a retriever."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reasonembed_rag.lazy import lazy_face

if TYPE_CHECKING:
    from reasonembed_rag.pipeline.agentic import AgenticRetriever
    from reasonembed_rag.pipeline.build import RetrieverKind, build_retriever, parse_retriever
    from reasonembed_rag.pipeline.clusters import k_means
    from reasonembed_rag.pipeline.dense_reasoner import DenseReasoner, ReasonerLayers, ReasoningEmbedder
    from reasonembed_rag.pipeline.enriching import EnrichingEmbedder, enrichment_name
    from reasonembed_rag.pipeline.enrichment_failures import EnrichmentFailures
    from reasonembed_rag.pipeline.expand_chat import DecomposingExpander, HypothesisExpander, ReasoningExpander
    from reasonembed_rag.pipeline.expand_feedback import FeedbackExpander, FeedbackSettings, repeated
    from reasonembed_rag.pipeline.expand_replayed import ReplayedExpander
    from reasonembed_rag.pipeline.expanded import ExpandedRetriever
    from reasonembed_rag.pipeline.filtered import FilteredRetriever
    from reasonembed_rag.pipeline.filters import HitFilter, HubnessGuard, NearDuplicateFilter, TrustFilter, keep_through
    from reasonembed_rag.pipeline.fusion import Fusion, Weighted
    from reasonembed_rag.pipeline.groupwise import GroupSettings, GroupwiseReranker
    from reasonembed_rag.pipeline.hub_guarded import HubGuardedRetriever
    from reasonembed_rag.pipeline.hubness import HubScan, count_hubs, ranks_of, scan_hubs
    from reasonembed_rag.pipeline.iterating import IterationSettings, IterationTrace
    from reasonembed_rag.pipeline.listwise import ListwiseReranker, WindowSettings
    from reasonembed_rag.pipeline.named import named_pipeline
    from reasonembed_rag.pipeline.observer import SearchObserver, observing
    from reasonembed_rag.pipeline.pipeline import Pipeline, PipelineStage, StageCost
    from reasonembed_rag.pipeline.plan import (
        LeftOutStage,
        PipelinePlan,
        PlannedStage,
        PlanRequest,
        Questions,
        plan_pipeline,
    )
    from reasonembed_rag.pipeline.plan_evidence import Evidence
    from reasonembed_rag.pipeline.plan_files import planned_toml, routed_toml
    from reasonembed_rag.pipeline.pointwise import JudgingStep, PointwiseReranker
    from reasonembed_rag.pipeline.reasoned import ReasonedRetriever
    from reasonembed_rag.pipeline.reranked import DocumentLookup, InterpolatedReranker, RerankedRetriever, rerank_texts
    from reasonembed_rag.pipeline.route_features import PROBE_DEPTH
    from reasonembed_rag.pipeline.routed import RouteArm, RoutedRetriever, Routes
    from reasonembed_rag.pipeline.router import Router
    from reasonembed_rag.pipeline.router_stage import RouterStage
    from reasonembed_rag.pipeline.settings import PipelineSettings, read_pipeline
    from reasonembed_rag.pipeline.stage_context import StageContext, StageSettings
    from reasonembed_rag.pipeline.stages import STAGE_KINDS
    from reasonembed_rag.pipeline.state_machine import StateMachineRetriever
    from reasonembed_rag.pipeline.vector_feedback import VectorFeedback

__all__ = [
    "PROBE_DEPTH",
    "STAGE_KINDS",
    "AgenticRetriever",
    "DecomposingExpander",
    "DenseReasoner",
    "DocumentLookup",
    "EnrichingEmbedder",
    "EnrichmentFailures",
    "Evidence",
    "ExpandedRetriever",
    "FeedbackExpander",
    "FeedbackSettings",
    "FilteredRetriever",
    "Fusion",
    "GroupSettings",
    "GroupwiseReranker",
    "HitFilter",
    "HubGuardedRetriever",
    "HubScan",
    "HubnessGuard",
    "HypothesisExpander",
    "InterpolatedReranker",
    "IterationSettings",
    "IterationTrace",
    "JudgingStep",
    "LeftOutStage",
    "ListwiseReranker",
    "NearDuplicateFilter",
    "Pipeline",
    "PipelinePlan",
    "PipelineSettings",
    "PipelineStage",
    "PlanRequest",
    "PlannedStage",
    "PointwiseReranker",
    "Questions",
    "ReasonedRetriever",
    "ReasonerLayers",
    "ReasoningEmbedder",
    "ReasoningExpander",
    "ReplayedExpander",
    "RerankedRetriever",
    "RetrieverKind",
    "RouteArm",
    "RoutedRetriever",
    "Router",
    "RouterStage",
    "Routes",
    "SearchObserver",
    "StageContext",
    "StageCost",
    "StageSettings",
    "StateMachineRetriever",
    "TrustFilter",
    "VectorFeedback",
    "Weighted",
    "WindowSettings",
    "build_retriever",
    "count_hubs",
    "enrichment_name",
    "k_means",
    "keep_through",
    "named_pipeline",
    "observing",
    "parse_retriever",
    "plan_pipeline",
    "planned_toml",
    "ranks_of",
    "read_pipeline",
    "repeated",
    "rerank_texts",
    "routed_toml",
    "scan_hubs",
]

__getattr__, __dir__ = lazy_face(
    __name__,
    renamed={"Defence": "HitFilter", "Hybrid": "Fusion", "Part": "Weighted"},
)
