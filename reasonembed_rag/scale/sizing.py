"""The arithmetic of large corpora: bytes, hours and cost from measured rates."""

from __future__ import annotations

from dataclasses import dataclass

from reasonembed_rag.errors import InputError

__all__ = ["CorpusPlan", "plan_corpus"]

_ID_BYTES = 8
_GRAPH_LINKS = 64
"""Links of 4 bytes per vector of an HNSW or DiskANN graph of degree 32 to 64."""

_SECTOR = 4096
"""Bytes that DiskANN reads at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusPlan:
    """What a corpus costs to encode and to keep; bytes without the texts."""

    tokens: int
    operations: float
    """Multiplications and additions of the forward passes: 2 per parameter and token, attention left out."""
    hours: float
    cost: float
    float32_bytes: int
    float16_bytes: int
    ivf_pq_bytes: int
    """Codes and ids of an inverted file with product quantisation, in memory."""
    disk_ann_memory_bytes: int
    """Compressed vectors in memory; the graph and the whole vectors are on disk."""
    disk_ann_disk_bytes: int
    """Vectors and links in whole sectors of 4,096 bytes, as DiskANN writes them."""


def plan_corpus(
    documents: int,
    *,
    tokens_per_document: float,
    parameters: float,
    dimension: int,
    tokens_per_second: float,
    machines: int = 1,
    price_per_hour: float = 0.0,
    code_bytes: int = 64,
) -> CorpusPlan:
    """Return what a corpus takes; parameters are those of the layers, without the embedding matrix.

    code_bytes is the length of a quantised vector. Raises InputError for numbers that are not positive.
    """
    sizes = {
        "documents": documents,
        "tokens_per_document": tokens_per_document,
        "parameters": parameters,
        "dimension": dimension,
        "tokens_per_second": tokens_per_second,
        "machines": machines,
        "code_bytes": code_bytes,
    }
    for name, size in sizes.items():
        if not size > 0:
            raise InputError(f"{name} is {size}; want more than 0")
    tokens = round(documents * tokens_per_document)
    hours = tokens / tokens_per_second / machines / 3600
    return CorpusPlan(
        tokens=tokens,
        operations=2.0 * parameters * tokens,
        hours=hours,
        cost=hours * machines * price_per_hour,
        float32_bytes=documents * dimension * 4,
        float16_bytes=documents * dimension * 2,
        ivf_pq_bytes=documents * (code_bytes + _ID_BYTES),
        disk_ann_memory_bytes=documents * code_bytes,
        disk_ann_disk_bytes=_sectors(documents, dimension * 4 + _GRAPH_LINKS * 4) * _SECTOR,
    )


def _sectors(nodes: int, node_bytes: int) -> int:
    """Return the sectors of a graph on disk: no node is in more of them than it must be, so that one read gets it."""
    if node_bytes > _SECTOR:
        return nodes * -(-node_bytes // _SECTOR)
    return -(-nodes // (_SECTOR // node_bytes))
