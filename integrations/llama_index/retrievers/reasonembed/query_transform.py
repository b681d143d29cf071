"""ReasonEmbedQueryTransform: the core's query expanders as a LlamaIndex query transform."""

from __future__ import annotations

from typing import Any, Literal, get_args

from llama_index.core.indices.query.query_transform.base import BaseQueryTransform
from llama_index.core.prompts.mixin import PromptDictType
from llama_index.core.schema import QueryBundle

from reasonembed_rag.errors import InputError, want_one_of
from reasonembed_rag.protocols import QueryExpander

__all__ = ["ReasonEmbedQueryTransform"]

_Combination = Literal["append", "replace", "mean"]


class ReasonEmbedQueryTransform(BaseQueryTransform):
    """Write what finds more than the query's own words; use it in TransformRetriever or TransformQueryEngine.

    What is embedded changes: "append" gives one text, the query, a blank line and what was written, "replace" that
    alone, "mean" the query and each text, whose vectors are averaged. The query that a response synthesizer reads stays
    as it was asked. Raises InputError for another combination.
    """

    def __init__(self, expander: QueryExpander, *, combine: _Combination = "append") -> None:
        if combine not in get_args(_Combination):
            raise InputError(f"combine is {combine!r}; {want_one_of(combine, get_args(_Combination))}")
        super().__init__()
        self.expander = expander
        self.combine = combine

    def _get_prompts(self) -> PromptDictType:
        return {}

    def _update_prompts(self, prompts_dict: PromptDictType) -> None:
        """Take none: the expander has its own."""

    def _run(self, query_bundle: QueryBundle, metadata: dict[str, Any]) -> QueryBundle:
        del metadata
        query = query_bundle.query_str
        (written,) = self.expander.expand([query])
        texts = [*written.queries, *written.documents]
        if not texts:
            return query_bundle
        parts = {"append": ["\n\n".join([query, *texts])], "replace": ["\n\n".join(texts)], "mean": [query, *texts]}
        return QueryBundle(query_str=query, custom_embedding_strs=parts[self.combine])
