from __future__ import annotations

import json

from reasonembed_rag.backbone import ALIASES, OWN_MODELS, known_checkpoint, known_checkpoints
from reasonembed_rag.spec import EmbeddingSpec


def test_the_list_is_json_if_asked(succeeds):
    records = json.loads(succeeds("models", "--json"))
    assert [record["name"] for record in records[:2]] == ["default", "default-base"]
    assert all(record["from"] and record["settings"] for record in records)


def test_every_known_checkpoint_is_listed_with_its_settings(succeeds, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    text = succeeds("models")
    for card in known_checkpoints():
        assert f" {card.alias} " in text
        assert f" {card.hub_id} " in text
    for name in OWN_MODELS:
        assert f" {name} " in text
    for expected in (
        "pooling last",
        "pooling mean; bidirectional",
        r"'Instruct: {instruction}\nQuery:{text}'",
        "non-commercial",
    ):
        assert expected in text


def test_aliases_and_hub_ids_are_unique_and_lead_to_one_card():
    cards = known_checkpoints()
    assert len(ALIASES) == len({card.hub_id.lower() for card in cards}) == len(cards)
    for card in cards:
        assert card.alias is not None
        assert (
            known_checkpoint(card.alias)
            == known_checkpoint(card.hub_id)
            == known_checkpoint(card.hub_id.upper())
            == card
        )


def test_every_card_makes_a_valid_spec():
    for card in known_checkpoints():
        EmbeddingSpec(
            model=card.hub_id,
            pooling=card.pooling or "mean",
            attention=card.attention or "causal",
            query_template=card.query_template or "{text}",
            document_template=card.document_template or "{text}",
            default_instruction="Find help.",
            max_query_length=card.max_query_length or 512,
            max_document_length=card.max_document_length or 512,
            dimension=8,
        )
