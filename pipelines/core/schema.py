"""Values from outside files, checked against the annotations of the class that they configure.

A configuration class annotates each entry with its type and its limits, e.g. ``dim: Annotated[int, Between(1, 8192)]``. ``checked``
compares a file's entries with these annotations before anything is built from them.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, is_dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from .documents import printable

T = TypeVar("T")
SHOWN = 60  # characters of a wrong value that an error quotes


@dataclass(frozen=True)
class Between:
    """Limits of a number."""

    low: float | int
    high: float | int

    def check(self, value: Any) -> None:
        """Refuse a number outside the limits; None passes."""
        if value is not None and not self.low <= value <= self.high:
            raise _WrongError(f"a number from {self.low:g} to {self.high:g}")


@dataclass(frozen=True)
class Length:
    """Limits of the number of entries of a list, or of characters of a text."""

    low: int
    high: int

    def check(self, value: Any) -> None:
        """Refuse a list or text outside the limits."""
        if not self.low <= len(value) <= self.high:
            unit = "characters" if isinstance(value, str) else "entries"
            raise _WrongError(f"{self.low} to {self.high} {unit} long")


Width = Annotated[int, Between(1, 65_536)]  # channels of a layer, or entries of a table
Depth = Annotated[int, Between(0, 512)]  # layers of a stack
Heads = Annotated[int, Between(1, 256)]
Count = Annotated[int, Between(1, 4096)]  # tokens
Fps = Annotated[int, Between(1, 240)]
SampleRate = Annotated[int, Between(16_000, 192_000)]
Seconds = Annotated[float, Between(0.01, 600)]
Words = Annotated[tuple[str, ...], Length(1, 65_536)]
Text = Annotated[str, Length(0, 256)]


class _WrongError(Exception):
    """The rule that a value violates."""


def checked(create: Callable[..., T], entries: object, *, source: object, ignore_unknown: bool = False) -> T:
    """``create`` called with its ``arguments`` in ``entries``.

    Raises:
        ValueError: see ``arguments``; or ``create`` refuses the combination of its arguments.
    """
    values = arguments(create, entries, source=source, ignore_unknown=ignore_unknown)
    try:
        return create(**values)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error


def arguments(
    create: Callable[..., Any], entries: object, *, source: object, ignore_unknown: bool = False
) -> dict[str, Any]:
    """The arguments of ``create``, a dataclass or another class with annotated arguments, from ``entries`` of the file ``source``. Lists
    become tuples where the annotation is a tuple.

    Raises:
        ValueError: an entry is missing, unknown (unless ``ignore_unknown``), of the wrong type or out of its limits.
    """
    parameters = inspect.signature(create).parameters
    hints = get_type_hints(create if is_dataclass(create) else create.__init__, include_extras=True)
    if not isinstance(entries, Mapping):
        raise ValueError(f"{source} is not an object with named entries. Restore it.")
    required = {name for name, parameter in parameters.items() if parameter.default is inspect.Parameter.empty}
    for names, problem in (
        (required - set(entries), "is missing"),
        (set() if ignore_unknown else set(entries) - set(parameters), "is unknown"),
    ):
        if names:
            name = printable(repr(min(names, key=str)))[:SHOWN]
            raise ValueError(
                f"{source} does not fit this version of Duet: {name} {problem}. Update Duet or restore it."
            )
    values = {}
    for name in parameters:
        if name in entries:
            try:
                values[name] = _checked(entries[name], hints[name])
            except _WrongError as rule:
                value = repr(entries[name])
                shown = printable(value[:SHOWN]) + (" (cut)" if len(value) > SHOWN else "")
                raise ValueError(
                    f"{source}: {name} is {shown}; it must be {rule}. Restore the file or choose another one."
                ) from rule
    return values


def _checked(value: Any, hint: Any) -> Any:
    """``value`` as an annotation requires it; lists become tuples."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        found = _checked(value, arguments[0])
        for rule in arguments[1:]:
            rule.check(found)
        return found
    if origin in (Union, UnionType):
        kinds = [kind for kind in arguments if kind is not NoneType]
        return None if value is None and len(kinds) < len(arguments) else _checked(value, kinds[0])
    if origin is Literal:
        if not any(type(value) is type(choice) and value == choice for choice in arguments):
            raise _WrongError(f"one of {', '.join(map(repr, arguments))}")
        return value
    if origin in (tuple, list):
        if not isinstance(value, list | tuple):
            raise _WrongError("a list")
        return origin(_checked(part, arguments[0]) for part in value)
    if origin is dict:
        if not (isinstance(value, Mapping) and all(isinstance(key, str) for key in value)):
            raise _WrongError("an object with named entries")
        return {key: _checked(part, arguments[1]) for key, part in value.items()}
    return _plain(value, hint)


def _plain(value: Any, kind: Any) -> Any:
    """A number, flag or text; a truth value is not a number, and an integer is a number wherever one is needed."""
    if kind is float and type(value) in (int, float):
        try:
            number = float(value)
        except OverflowError as error:
            raise _WrongError("a finite number") from error
        if not math.isfinite(number):
            raise _WrongError("a finite number")
        return number
    if type(value) is not kind:
        raise _WrongError({int: "an integer", float: "a number", bool: "true or false", str: "a text"}[kind])
    return value


def check_heads(dim: int, heads: int) -> None:
    """Refuse a width that does not split into heads with pairs of channels, as rotary positions need them.

    Raises:
        ValueError: ``dim`` is not a multiple of 2 ``heads``.
    """
    if dim % (2 * heads):
        raise ValueError(
            f"the width is {dim} and the number of heads {heads}; the width must be a multiple of {2 * heads}."
        )
