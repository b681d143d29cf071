"""What is known of model types here, against transformers."""

from __future__ import annotations

import pytest
from transformers.models.auto import modeling_auto
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from reasonembed_rag.backbone.kinds import ENCODERS, OWN_DECODERS, is_decoder, size_in


@pytest.mark.parametrize("kind", sorted(ENCODERS | OWN_DECODERS))
def test_a_known_kind_is_a_decoder_if_transformers_has_it_only_as_a_causal_model(kind):
    causal = kind in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    masked = kind in modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
    assert is_decoder({"model_type": kind}) == (causal and not masked)


@pytest.mark.parametrize("kind", sorted(ENCODERS | OWN_DECODERS))
def test_sizes_are_found_under_the_names_that_transformers_knows(kind):
    for name in ("hidden_size", "max_position_embeddings"):
        saved = CONFIG_MAPPING[kind].attribute_map.get(name, name)
        assert size_in({"model_type": kind, saved: 7}, name) == 7


def test_transformers_is_asked_about_other_kinds():
    assert is_decoder({"model_type": "gpt2"})
    assert not is_decoder({"model_type": "deberta-v2"})
    assert size_in({"model_type": "gpt2", "n_positions": 9}, "max_position_embeddings") == 9
