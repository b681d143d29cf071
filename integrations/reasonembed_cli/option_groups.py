"""Options that belong together as one dataclass, so that commands share them and pass them on as one value."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from copy import copy
from dataclasses import MISSING, Field, fields, is_dataclass
from inspect import Parameter
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

__all__ = ["with_options"]

_T = TypeVar("_T")


def with_options(command: Callable[..., _T]) -> Callable[..., _T]:
    """Give a command an option for each field of the dataclasses among its parameters.

    A field is annotated as a parameter of a command is: Annotated[type, typer.Option(...)]. The help shows the options
    of a dataclass that has a `panel`, a ClassVar, under that title.
    """
    signature = inspect.signature(command, eval_str=True)
    groups: dict[str, Any] = {
        name: one.annotation for name, one in signature.parameters.items() if is_dataclass(one.annotation)
    }
    parameters = [one for name, one in signature.parameters.items() if name not in groups]
    for group in groups.values():
        hints = get_type_hints(group, include_extras=True)
        panel = getattr(group, "panel", None)
        parameters += [_parameter(field, hints[field.name], panel=panel) for field in fields(group)]

    @functools.wraps(command)
    def run(**values: Any) -> _T:
        opened = {
            name: group(**{field.name: values.pop(field.name) for field in fields(group)})
            for name, group in groups.items()
        }
        return command(**values, **opened)

    parameters = [one.replace(kind=Parameter.KEYWORD_ONLY) for one in parameters]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    vars(run)["__signature__"] = signature.replace(parameters=parameters)
    return run


def _parameter(field: Field[Any], annotation: Any, *, panel: str | None) -> Parameter:
    kind, option = get_args(annotation)
    option = copy(option)
    option.rich_help_panel = option.rich_help_panel or panel
    default = Parameter.empty if field.default is MISSING else field.default
    return Parameter(field.name, Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option])
