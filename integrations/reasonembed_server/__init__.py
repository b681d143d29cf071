"""An HTTP server of embeddings, reranking and search, for clients of OpenAI, Cohere and Jina."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reasonembed_rag.lazy import lazy_face

if TYPE_CHECKING:
    from reasonembed_server.app import create_app
    from reasonembed_server.keys import ApiKeys
    from reasonembed_server.limits import Limits
    from reasonembed_server.logs import log_to_stderr
    from reasonembed_server.running import bound_socket, serve
    from reasonembed_server.served import Served, ServerSettings

__all__ = ["ApiKeys", "Limits", "Served", "ServerSettings", "bound_socket", "create_app", "log_to_stderr", "serve"]

__getattr__, __dir__ = lazy_face(__name__)
