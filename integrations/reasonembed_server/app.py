"""The application: endpoints, and around all of them keys, limits, measures and logs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from fastapi import FastAPI, Request
from pydantic import BaseModel
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response

from reasonembed_rag import __version__
from reasonembed_rag.errors import want_one_of
from reasonembed_rag.pages import render_template
from reasonembed_server.asked import Asked
from reasonembed_server.embedding import answer_embeddings
from reasonembed_server.forms import EmbeddingsForm, RerankForm, SearchForm
from reasonembed_server.guarding import Guard
from reasonembed_server.models import EmbeddingModel, RerankModel, model_record
from reasonembed_server.problems import ApiProblem, ClientGoneError, answer_of
from reasonembed_server.reading import read_form
from reasonembed_server.reranking import answer_rerank
from reasonembed_server.searching import answer_search

if TYPE_CHECKING:
    from reasonembed_server.served import Served

__all__ = ["create_app"]

_Form = TypeVar("_Form", bound=BaseModel)
_Answer = Callable[[_Form, "Served", Asked], Awaitable[bytes]]
_PAGE = Path(__file__).parent / "docs.html.j2"


def create_app(served: Served) -> FastAPI:
    """Return the application over opened models and indexes, which it releases when it shuts down."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await served.close()

    app = FastAPI(
        title="reasonembed",
        version=__version__,
        description="Embeddings, reranking and search.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.add_middleware(Guard, served=served)
    app.add_exception_handler(HTTPException, _unknown_path)
    _add_post(app, "/v1/embeddings", EmbeddingsForm, partial(_posted, served, EmbeddingsForm, answer_embeddings))
    for path in ("/v1/rerank", "/v2/rerank"):  # Jina's and Cohere's
        _add_post(app, path, RerankForm, partial(_posted, served, RerankForm, answer_rerank))
    _add_post(app, "/v1/search", SearchForm, partial(_posted, served, SearchForm, answer_search))
    _add_lists(app, served)
    _add_state(app, served)
    _add_page(app)
    return app


def _add_post(app: FastAPI, path: str, form: type[BaseModel], answer: Callable[[Request], Awaitable[Response]]) -> None:
    async def endpoint(request: Request) -> Response:
        return await answer(request)

    body = {"required": True, "content": {"application/json": {"schema": form.model_json_schema()}}}
    summary = (form.__doc__ or "").partition("\n")[0]
    app.post(path, summary=summary, openapi_extra={"requestBody": body}, response_class=Response)(endpoint)


def _add_lists(app: FastAPI, served: Served) -> None:
    @app.get("/v1/models")
    async def models() -> Response:
        """List the models that can be asked for, and what their vectors are."""
        records = [model_record(one, created=served.created) for one in _all_models(served)]
        return _json({"object": "list", "data": records})

    @app.get("/v1/models/{name:path}")
    async def model(name: str) -> Response:
        """Return one model."""
        for one in _all_models(served):
            if one.name == name:
                return _json(model_record(one, created=served.created))
        cure = want_one_of(name[:100], (one.name for one in _all_models(served)))
        raise ApiProblem(404, f"no model is named {name[:100]!r}; {cure}", code="model_not_found")

    @app.get("/v1/indexes")
    async def indexes() -> Response:
        """List the indexes that can be searched."""
        return _json({"object": "list", "data": [index.record() for index in served.indexes.values()]})


def _add_state(app: FastAPI, served: Served) -> None:
    @app.get("/health")
    async def health() -> Response:
        """Answer 200 while the process lives."""
        return _json({"status": "ok", "version": __version__})

    @app.get("/ready")
    async def ready() -> Response:
        """Answer 200 while requests are taken, 503 while a model is loaded again or the server stops."""
        waiting = [model.name for model in served.loaded if not model.is_ready]
        status = "stopping" if served.is_stopping else "loading" if waiting else "ready"
        return _json({"status": status, "loading": waiting}, status=200 if served.is_ready else 503)

    @app.get("/metrics")
    async def metrics() -> Response:
        """Return the server's measures in Prometheus' format."""
        for queue in served.queues:
            served.measures.waiting.labels(queue.name).set(queue.waiting)
        for model in served.loaded:
            served.measures.outages.labels(model.name).set(model.outages)
        return Response(served.measures.exposition(), media_type=served.measures.content_type)


def _add_page(app: FastAPI) -> None:
    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        schema = app.openapi()
        return HTMLResponse(render_template(_PAGE, title="reasonembed: endpoints", schema=schema))


async def _posted(served: Served, form: type[_Form], answer: _Answer[_Form], request: Request) -> Response:
    """Read a request, answer it unless the client leaves, and tell the guard what was asked for."""
    asked: Asked = request.scope["asked"]
    with served.held.account() as account:
        body = await read_form(request, form, served.limits, account)
        async with asyncio.timeout(served.limits.answer_s):
            return Response(await _unless_gone(request, answer(body, served, asked)), media_type="application/json")


async def _unless_gone(request: Request, work: Awaitable[bytes]) -> bytes:
    """Return the result of work; cancel it and raise ClientGoneError where the client disconnects before."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGoneError
        return task.result()
    finally:
        for one in (task, gone):
            one.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _all_models(served: Served) -> list[EmbeddingModel | RerankModel]:
    return [*served.embedders.values(), *served.rerankers.values()]


def _json(value: Any, *, status: int = 200) -> Response:
    return Response(to_json(value), status, media_type="application/json")


async def _unknown_path(request: Request, error: Exception) -> Response:
    """Answer what no endpoint takes in the format of all errors."""
    status = error.status_code if isinstance(error, HTTPException) else 404
    if status == 405:
        return answer_of(ApiProblem(405, f"this path does not take {request.method}; see /docs", code="wrong_method"))
    return answer_of(ApiProblem(status, "there is no such path; see /docs for those there are", code="unknown_path"))
