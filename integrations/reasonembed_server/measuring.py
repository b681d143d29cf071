"""Prometheus' metrics of a server. Labels have few values: endpoints, statuses, names of models."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

__all__ = ["Measures"]

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_SIZES = tuple(4**power for power in range(10))


class Measures:
    """What a server counts, in a registry of its own."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        own = self._registry = CollectorRegistry()
        self.requests = Counter("reasonembed_requests", "Requests answered.", ("path", "status"), registry=own)
        self.seconds = Histogram(
            "reasonembed_request_seconds", "Seconds to answer.", ("path",), buckets=_SECONDS, registry=own
        )
        self.tokens = Counter("reasonembed_tokens", "Tokens of answered texts.", ("model",), registry=own)
        self.request_tokens = Histogram(
            "reasonembed_request_tokens", "Tokens of one request.", ("model",), buckets=_SIZES, registry=own
        )
        self.truncated = Counter("reasonembed_truncated_texts", "Texts that were truncated.", ("model",), registry=own)
        self.disconnected = Counter("reasonembed_disconnected", "Clients that left before their answer.", registry=own)
        self.outages = Gauge("reasonembed_outages", "How often a model broke.", ("model",), registry=own)
        self.running = Gauge("reasonembed_requests_running", "Requests that are being answered.", registry=own)
        self.waiting = Gauge(
            "reasonembed_waiting", "What waits: tokens for models, questions for indexes.", ("name",), registry=own
        )

    def exposition(self) -> bytes:
        """Return all figures in Prometheus' text format."""
        return generate_latest(self._registry)
