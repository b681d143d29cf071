"""The format in which a decoder takes messages: its tokenizer's chat template, or roles in plain words."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from reasonembed_rag.backbone import read_json
from reasonembed_rag.errors import InputError, ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from jinja2.nodes import Node
    from jinja2.parser import Parser
    from jinja2.sandbox import ImmutableSandboxedEnvironment

__all__ = ["ChatFormat", "read_chat_format"]

_TOKENS = ("bos_token", "eos_token", "pad_token", "unk_token")


@dataclass(frozen=True, slots=True)
class ChatFormat:
    """How messages become a prompt."""

    template: str | None = None
    """In Jinja, as tokenizers hold it; None: a line "role: content" each."""
    tokens: Mapping[str, str] = field(default_factory=dict)
    """The special tokens that templates name, such as eos_token."""

    def prompt(self, messages: Sequence[Mapping[str, str]]) -> str:
        """Return the prompt that the answer of the assistant follows; messages hold a role and a content.

        Raises InputError for no messages, and for those that the model's template refuses, ModelError for a template
        that is none.
        """
        if not messages:
            raise InputError("got no messages; want at least one")
        if self.template is None:
            lines = [f"{message['role']}: {message['content']}" for message in messages]
            return "\n".join([*lines, "assistant:"])
        from jinja2 import TemplateError, TemplateSyntaxError

        try:
            template = _environment().from_string(self.template)
        except TemplateSyntaxError as error:
            raise ModelError(
                f"the model's chat template cannot be read ({error}, line {error.lineno}); mend chat_template.jinja or "
                "tokenizer_config.json beside its weights"
            ) from error
        try:
            return template.render(messages=list(messages), add_generation_prompt=True, **self.tokens)
        except TemplateError as error:
            raise InputError(f"the model's chat template refuses these messages ({error})") from error


def read_chat_format(folder: Path) -> ChatFormat:
    """Read the chat template of a model folder, where it has one; raises ModelError for damaged files."""
    path = folder / "tokenizer_config.json"
    settings: dict[str, Any] = read_json(path) if path.is_file() else {}
    template = settings.get("chat_template")
    if isinstance(template, list):  # several, by name
        template = next((one["template"] for one in template if one.get("name") == "default"), None)
    own = folder / "chat_template.jinja"
    if own.is_file():
        template = own.read_text(encoding="utf-8")
    if template is not None and not isinstance(template, str):
        raise ModelError(f"{path}: chat_template is {type(template).__name__}; want a string")
    named = {name: settings.get(name) for name in _TOKENS}
    tokens = {name: one["content"] if isinstance(one, dict) else str(one) for name, one in named.items() if one}
    return ChatFormat(template, tokens)


def _environment() -> ImmutableSandboxedEnvironment:
    """Return what chat templates are written for: Jinja as transformers sets it up."""
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """The tag around what the assistant says, which changes nothing here."""

        tags = {"generation"}  # noqa: RUF012 - as jinja2 declares it

        def parse(self, parser: Parser) -> list[Node]:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, autoescape=False, extensions=[Generation, loopcontrols]
    )
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda layout: datetime.now().astimezone().strftime(layout)
    environment.filters["tojson"] = lambda value, indent=None: json.dumps(value, ensure_ascii=False, indent=indent)
    return environment


def _refuse(message: str) -> None:
    from jinja2 import TemplateError

    raise TemplateError(message)
