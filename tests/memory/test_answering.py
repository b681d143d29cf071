"""MemoryAnswers takes stored memories and makes missing ones; chat formats render as transformers does."""

from __future__ import annotations

import json
import logging

import pytest
from transformers import AutoTokenizer

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import InputError, ModelError, SpecMismatchError
from reasonembed_rag.memory import (
    ChatFormat,
    GenerationSettings,
    LatentEncoder,
    MemoryAnswers,
    MemoryStore,
    load_latent,
)
from reasonembed_rag.memory.chat_format import read_chat_format

DOCUMENTS = [Document("a", "the quick brown fox"), Document("b", "cells divide"), Document("c", "the lazy dog")]
MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why <do> cells divide?"}]
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}\n  {% if message.role == 'system' %}[{{ message.content | trim }}]"
    "{% else %}<{{ message['role'] }}>{{ message['content'] }}{{ eos_token }}{% endif %}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def test_stored_memories_are_taken_and_missing_ones_made_and_told_once(latent_encoder, tmp_path, caplog):
    store = MemoryStore.open(tmp_path, latent_encoder)
    store.follow(DOCUMENTS[:2], latent_encoder)
    answers = MemoryAnswers(latent_encoder, store, settings=GenerationSettings(max_tokens=8))
    expected = latent_encoder.generate(
        "why?", memories=latent_encoder.compress([one.content for one in DOCUMENTS]), settings=answers.settings
    )
    with caplog.at_level(logging.WARNING):
        assert answers.answer("why?", DOCUMENTS) == "".join(answers.stream("why?", DOCUMENTS)) == expected
    assert answers.compressed == 2
    assert caplog.text.count("memory build") == 1
    changed = [Document("a", "another text")]
    assert answers.answer("why?", changed) == MemoryAnswers(latent_encoder, settings=answers.settings).answer(
        "why?", changed
    )
    assert answers.answer("why?", []) == latent_encoder.generate("why?", settings=answers.settings)


def test_a_store_of_another_model_is_refused_before_a_question(latent_folder, latent_encoder, tmp_path, tiny_model):
    from reasonembed_rag.backbone import EncoderSettings
    from reasonembed_rag.memory import LatentSettings, create_latent

    backbone = load_latent(latent_folder).backbone.model
    other = LatentEncoder(create_latent(EncoderSettings(model=backbone), LatentSettings(latents=2, rank=1), live=False))
    store = MemoryStore.open(tmp_path, latent_encoder)
    with pytest.raises(SpecMismatchError, match="k = 2"):
        MemoryAnswers(other, store)


def test_templates_render_as_transformers_renders_them(latent_folder, tmp_path):
    backbone = load_latent(latent_folder).backbone.model
    tokenizer = AutoTokenizer.from_pretrained(backbone, bos_token="<pad>")
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(tmp_path)
    expected = tokenizer.apply_chat_template(MESSAGES, tokenize=False, add_generation_prompt=True)
    assert read_chat_format(tmp_path).prompt(MESSAGES) == expected
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    (tmp_path / "chat_template.jinja").unlink(missing_ok=True)
    named = [{"name": "tool", "template": "no"}, {"name": "default", "template": TEMPLATE}]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings | {"chat_template": named}))
    assert read_chat_format(tmp_path).prompt(MESSAGES) == expected
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings | {"chat_template": 3}))
    with pytest.raises(ModelError, match="int"):
        read_chat_format(tmp_path)


def test_without_a_template_roles_are_words_and_what_a_template_refuses_is_bad_input():
    assert ChatFormat().prompt(MESSAGES) == "system: Be brief.\nuser: Why <do> cells divide?\nassistant:"
    with pytest.raises(InputError, match="only one"):
        ChatFormat("{{ raise_exception('only one') }}").prompt(MESSAGES)
    with pytest.raises(InputError, match="refuses"):
        ChatFormat("{{ ''.__class__.__mro__ }}").prompt(MESSAGES)
    with pytest.raises(InputError, match="no messages"):
        ChatFormat().prompt([])


def test_tags_and_functions_of_chat_templates_that_plain_jinja_lacks():
    template = (
        "{% for m in messages %}{% if m.role == 'user' %}{% generation %}{{ m.content | tojson }}{% endgeneration %}"
        "{% break %}{% endif %}{% endfor %}{{ strftime_now('%Y')[:2] }}"
    )
    assert ChatFormat(template).prompt(MESSAGES) == '"Why <do> cells divide?"20'
    with pytest.raises(ModelError, match="line 2"):
        ChatFormat("\n{% if %}").prompt(MESSAGES)
