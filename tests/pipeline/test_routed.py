"""Routers: what they look at, whom they send where, what is searched and charged, and what is refused."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from router_file import router_toml

from reasonembed_rag import BM25, Document, Hits
from reasonembed_rag.errors import InputError, ModelError
from reasonembed_rag.pipeline import (
    ExpandedRetriever,
    Pipeline,
    PipelineStage,
    ReplayedExpander,
    RouteArm,
    RoutedRetriever,
    Router,
    Routes,
    StageContext,
    read_pipeline,
)
from reasonembed_rag.pipeline.route_features import AGREEMENT, FEATURES, query_features
from reasonembed_rag.protocols import Usage

DOCUMENTS = [
    Document(identity, text) for identity, text in (("fox", "red fox"), ("hen", "red hen"), ("cat", "grey cat"))
]


@dataclass
class Fixed:
    """Find one document for every query; a call of a chat model each."""

    identity_: str
    calls: list = field(default_factory=list)

    def identity(self):
        return self.identity_

    def search(self, queries, *, k, excluded_ids=None):
        self.calls.append((list(queries), k, excluded_ids))
        return [Hits((self.identity_,), [1.0]) for _ in queries]

    def usage(self):
        return Usage(llm_calls=sum(len(queries) for queries, _, _ in self.calls))


def _routes(**kinds) -> tuple[Fixed, Fixed, Routes]:
    plain, other = Fixed("plain"), Fixed("other")
    arms = [RouteArm("plain", plain), RouteArm("other", other, **kinds)]
    return plain, other, Routes(plain, arms)


def _router(routes: Routes, *, word: float = 0.0, intercept: float = -1.0) -> Router:
    """A router that sends queries to "other" where word x log(1 + words) exceeds the intercept."""
    size = len(routes.features)
    return Router(
        arms=("plain", "other"),
        default="plain",
        features=routes.features,
        learnt_for=routes.learnt_for(),
        centres=(0.0,) * size,
        scales=(1.0,) * size,
        weights={"other": (intercept, word, *(0.0,) * (size - 1))},
    )


def test_features_are_those_counted_by_hand():
    found = Hits(("a", "b", "c"), [0.9, 0.5, 0.1])
    words, question, symbols, top, margin, entropy = query_features("Why is 2 + 2 four", found)
    assert (question, symbols) == (1.0, pytest.approx(3 / 12))
    assert words == pytest.approx(math.log(7))
    assert (top, margin) == (pytest.approx(0.9), pytest.approx(0.4))
    shares = (2 / 3, 1 / 3)  # of 1, .5 and 0
    assert entropy == pytest.approx(-sum(one * math.log(one) for one in shares) / math.log(3), abs=1e-6)
    assert query_features("Sum it", found, Hits(("c", "z", "a"), [3, 2, 1]))[-1] == pytest.approx(0.2)
    assert query_features("", Hits((), np.zeros(0))) == (0.0,) * len(FEATURES)
    assert query_features("whyever", Hits(("a",), [2.0]))[1:] == (0.0, 0.0, 2.0, 0.0, 0.0)


def test_each_query_takes_its_arm_with_its_own_exclusions():
    plain, other, routes = _routes()
    routed = RoutedRetriever(routes, _router(routes, word=1.0, intercept=-math.log(3.5)))
    found = routed.search(["a b c d", "a", "a b c"], k=3, excluded_ids=[["x"], ["y"], ["z"]])
    assert [hits.ids for hits in found] == [("other",), ("plain",), ("other",)]
    assert other.calls == [(["a b c d", "a b c"], 3, [["x"], ["z"]])]
    assert plain.calls == [(["a b c d", "a", "a b c"], 10, [["x"], ["y"], ["z"]])]  # probed, and not searched again
    assert routed.counts == {"plain": 1, "other": 2}


def test_a_constant_router_probes_nothing():
    plain, _, routes = _routes()
    router = Router(arms=("plain", "other"), default="other", features=routes.features, learnt_for=routes.learnt_for())
    routed = RoutedRetriever(routes, router)
    assert [hits.ids for hits in routed.search(["a", "b"], k=2)] == [("other",), ("other",)]
    assert plain.calls == []
    assert routed.search([], k=2) == []


def test_the_highest_logit_above_0_wins_and_a_tie_goes_to_the_arm_named_first():
    router = Router(
        arms=("a", "b", "c"), default="b", features=("f",), learnt_for={}, centres=(1.0,), scales=(2.0,),
        weights={"c": (0.0, 2.0), "a": (-1.0, 4.0)},
    )  # fmt: skip
    values = np.asarray([[1.0], [2.0], [3.0], [1.5]])  # scaled 0, .5, 1, .25
    assert router.choose(values) == ["b", "a", "a", "c"]  # logits a -1, 1, 3, 0; c 0, 1, 2, .5


def test_what_arms_share_with_the_probe_is_charged_once():
    _, other, routes = _routes()
    routed = RoutedRetriever(routes, _router(routes, intercept=1.0))
    routed.search(["a", "b"], k=1)
    assert routed.usage().llm_calls == 4
    probe = Fixed("plain")
    around = ExpandedRetriever(probe, ReplayedExpander({"a": ["b"]}))
    shared = Routes(probe, [RouteArm("plain", probe), RouteArm("other", around, around_probe=True)])
    routed = RoutedRetriever(shared, _router(shared, intercept=1.0))
    routed.search(["a", "b"], k=1)
    assert (len(probe.calls), routed.usage().llm_calls) == (2, 4)
    assert len(other.calls) == 1


def test_a_router_for_something_else_is_refused_by_name():
    plain, other, routes = _routes()
    router = _router(routes)
    cases = {
        "was learnt for another retriever; learn it again": Routes(Fixed("new"), routes.arms),
        "was learnt for another arm other; learn": Routes(plain, [RouteArm("plain", plain), RouteArm("other", plain)]),
        "was learnt for retriever, arm plain, arm other, not for retriever, arm plain, arm third": Routes(
            plain, [RouteArm("plain", plain), RouteArm("third", other)]
        ),
        "learnt for retriever, arm": Routes(plain, routes.arms, BM25(DOCUMENTS)),
    }
    for message, changed in cases.items():
        with pytest.raises(InputError, match=message):
            RoutedRetriever(changed, router)
    with pytest.raises(InputError, match="looks at f, not at words"):
        RoutedRetriever(routes, replace(router, features=("f",), centres=(0.0,), scales=(1.0,), weights={}))
    with pytest.raises(InputError, match="got the arms one; want two"):
        Routes(plain, [RouteArm("one", plain)])


def test_a_router_is_read_as_it_was_written(tmp_path):
    _, _, routes = _routes()
    router = _router(routes, word=0.25)
    router.save(tmp_path / "new" / "router.json")
    assert Router.load(tmp_path / "new" / "router.json") == router


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "format is 2; this version reads 1"),
        ({"arms": ["plain", "plain"]}, "want two or more, each with a name of its own"),
        ({"default": "gone"}, "default is 'gone'"),
        ({"weights": {"plain": [0.0] * 7}}, "weights of plain"),
        ({"weights": {"other": [0.0]}}, "want 7 weights per arm"),
        ({"scales": [0.0] * 6}, "scales above 0"),
        ({"centres": []}, "got 0 centres"),
        ({"surprise": 1}, "unknown key surprise"),
        ({"weights": {"other": ["x"] * 7}}, "want a number"),
    ],
)
def test_a_damaged_router_is_no_router(tmp_path, change, message):
    _, _, routes = _routes()
    path = tmp_path / "router.json"
    _router(routes).save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ModelError, match=message):
        Router.load(path)


def test_a_file_that_is_missing_or_cut_says_how_to_make_one(tmp_path):
    with pytest.raises(ModelError, match="no such router; learn it with `reasonembed calibrate`"):
        Router.load(tmp_path / "gone.json")
    (tmp_path / "cut.json").write_text('{"arms": [')
    with pytest.raises(ModelError, match=r"cut.json: cannot be read"):
        Router.load(tmp_path / "cut.json")


PIPELINE = router_toml(recorded="said.jsonl", arm="elsewhere", retriever="other")


@pytest.fixture
def written(tmp_path: Path) -> Path:
    (tmp_path / "said.jsonl").write_text('{"query": "what barks?", "reasoned_query": "red fox"}\n')
    (tmp_path / "pipeline.toml").write_text(PIPELINE)
    return tmp_path / "pipeline.toml"


def _opened(name: str):
    return BM25(DOCUMENTS) if name == "bm25" else Fixed(name)


def _save_constant(routes: Routes, default: str, path: Path) -> None:
    names = tuple(arm.name for arm in routes.arms)
    Router(arms=names, default=default, features=routes.features, learnt_for=routes.learnt_for()).save(path)


def test_a_file_names_arms_of_stages_and_of_other_retrievers(written):
    settings = read_pipeline(written)
    context = StageContext(retrievers=_opened)
    file = settings.router_file()
    assert file == written.parent / "pipeline.router.json"
    assert settings.router_file(StageContext(router=Path("x.json"))) == Path("x.json")
    routes = settings.open_routes(context)(BM25(DOCUMENTS))
    assert routes.features == (*FEATURES, AGREEMENT)
    found = {arm.name: arm.retriever.search(["what barks?"], k=1)[0].ids for arm in routes.arms}
    assert found == {"plain": (), "reasoned": ("fox",), "elsewhere": ("other",)}
    for default, ids in found.items():
        _save_constant(routes, default, file)
        pipeline = settings.build(BM25(DOCUMENTS), context)
        assert pipeline.search(["what barks?"], k=1)[0].ids == ids
    assert json.loads(settings.to_json())["stages"][0]["arms"][1]["stages"][0]["kind"] == "replayed"


def test_calibration_sees_the_stages_around_the_router(written):
    written.write_text(
        '[[stage]]\nkind = "replayed"\nname = "first"\npath = "said.jsonl"\ncombine = "replace"\n'
        + PIPELINE.replace('second = "bm25"', "")
        + '[[stage]]\nkind = "near-duplicates"\nmodel = "gone"\n'
    )
    with pytest.raises(ModelError, match="gone"):  # the model of a later stage is loaded before anything else
        read_pipeline(written).open_routes(StageContext(retrievers=_opened))
    written.write_text(written.read_text().split('[[stage]]\nkind = "near')[0])
    settings = read_pipeline(written)
    routes = settings.open_routes(StageContext(retrievers=_opened))(BM25(DOCUMENTS))
    assert routes.probe.search(["what barks?"], k=1)[0].ids == ("fox",)
    assert routes.arms[0].retriever.search(["what barks?"], k=1)[0].ids == ("fox",)
    _save_constant(routes, "plain", settings.router_file())
    context = StageContext(retrievers=_opened)
    assert settings.build(BM25(DOCUMENTS), context).search(["what barks?"], k=1)[0].ids == ("fox",)
    with pytest.raises(InputError, match=r"stage 'router', around 'retrieve': .*learnt for another retriever"):
        settings.build(BM25(DOCUMENTS), context).without("first")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('kind = "replayed"', 'kind = "replaid"'), r"stage 1, arm 2: kind is 'replaid'; did you mean 'replayed'"),
        (('name = "elsewhere"', 'name = "plain"'), "each with a name of its own"),
        (('combine = "replace"', "combin = 1"), r"arm 2 \(replayed\): unknown key combin"),
        (('retriever = "other"', "retriver = 1"), r"unknown key arms\[2\].retriver"),
        (('second = "bm25"', "second = 1"), "second is 1; want a string"),
        (('kind = "router"', 'kind = "router"\narms = 3'), "not a TOML file"),
    ],
)
def test_what_cannot_be_meant_in_an_arm_is_refused(written, change, message):
    written.write_text(PIPELINE.replace(*change))
    with pytest.raises(InputError, match=message):
        read_pipeline(written)


def test_a_router_needs_arms_a_file_and_what_opens_retrievers(written):
    for text in ('[[stage]]\nkind = "router"', '[[stage]]\nkind = "router"\narms = 3'):
        written.write_text(text)
        with pytest.raises(InputError, match="arms"):
            read_pipeline(written)
    written.write_text(PIPELINE)
    with pytest.raises(ModelError, match=r"pipeline.router.json: no such router"):
        read_pipeline(written).build(BM25(DOCUMENTS))
    with pytest.raises(InputError, match="wants the retriever 'bm25'; want StageContext"):
        read_pipeline(written).open_routes()
    written.write_text('[[stage]]\nkind = "vector-feedback"')
    with pytest.raises(InputError, match="has 0 routers; want one"):
        read_pipeline(written).router_file()


def test_a_routed_stage_is_timed_and_charged_apart_from_the_retriever():
    def around(inner):
        arms = [RouteArm("plain", inner), RouteArm("other", ExpandedRetriever(inner, ReplayedExpander({})), True)]
        return RoutedRetriever(Routes(inner, arms), _router(Routes(inner, arms), intercept=1.0))

    pipeline = Pipeline(Fixed("plain"), [PipelineStage("route", around)])
    pipeline.search(["a"], k=1)
    retrieve, route = pipeline.costs()
    assert (retrieve.searches, retrieve.llm_calls) == (2, 2)
    assert (route.searches, route.llm_calls) == (1, 0)
