"""The models that a model is composed of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel


def models_in(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """The model and every model nested in its fields, each once."""
    found, left = {model}, [model]
    while left:
        current = left.pop()
        yield current
        inner = [each for field in current.model_fields.values() for each in _models_of(field.annotation)]
        left += [each for each in dict.fromkeys(inner) if each not in found]
        found.update(inner)


def _models_of(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_of(inner)
