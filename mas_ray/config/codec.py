"""Dataclass <-> JSON, strictly: an unknown or missing key is an error that names it and the nearest known one.

A member of a union of dataclasses carries its class name under ``"kind"``.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import json
import types
import typing
from typing import Any, Literal, TypeVar, Union

T = TypeVar("T")
_KIND = "kind"


def to_json(value: Any) -> Any:
    """The plain lists, dicts and scalars that stand for a config value."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        hints = _hints(type(value))
        fields = {f.name: _tagged(getattr(value, f.name), hints[f.name]) for f in dataclasses.fields(value)}
        return fields
    if isinstance(value, (tuple, list)):
        return [to_json(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"{type(value).__name__} has no JSON form in a config")


def dumps(value: Any) -> str:
    """Canonical JSON text: sorted keys, two-space indent, final newline."""
    return json.dumps(to_json(value), indent=2, sort_keys=True) + "\n"


def from_json(cls: type[T], data: Any, where: str = "") -> T:
    """Build ``cls`` from parsed JSON.

    Args:
        cls: The dataclass to build.
        data: What ``json.loads`` gave.
        where: Prefix of the field paths in error messages, usually the file's name.

    Raises:
        ValueError: A key is unknown or missing or a value has the wrong type; the message gives its full path.
    """
    return _decode(cls, data, where or cls.__name__)


def loads(cls: type[T], text: str, where: str = "") -> T:
    """``from_json`` on JSON text; invalid JSON is a ``ValueError`` that names ``where``."""
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{where or cls.__name__}: not valid JSON: {error}") from None
    return from_json(cls, data, where)


def _tagged(value: Any, hint: Any) -> Any:
    if typing.get_origin(hint) is tuple and len(_dataclass_members(typing.get_args(hint)[0])) > 1:
        return [_tagged(item, typing.get_args(hint)[0]) for item in value]
    encoded = to_json(value)
    if len(_dataclass_members(hint)) > 1 and isinstance(encoded, dict):
        return {_KIND: type(value).__name__, **encoded}
    return encoded


def _decode(hint: Any, data: Any, where: str) -> Any:
    if type(data) is hint:  # most values are plain; a manifest has a million
        return data
    origin = typing.get_origin(hint)
    if origin in (Union, types.UnionType):
        return _decode_union(hint, data, where)
    if origin is Literal:
        return _decode_literal(hint, data, where)
    if origin is tuple:
        return _decode_tuple(hint, data, where)
    if dataclasses.is_dataclass(hint):
        return _decode_dataclass(typing.cast(type, hint), data, where)
    if hint is float and isinstance(data, (int, float)) and not isinstance(data, bool):
        try:
            return float(data)
        except OverflowError:
            raise ValueError(f"{where}: expected float, got an integer that is too large for one") from None
    if hint is type(None):
        hint = types.NoneType
    if isinstance(data, hint) and not (hint is int and isinstance(data, bool)):
        return data
    raise ValueError(f"{where}: expected {hint.__name__}, got {data!r}")


def _decode_dataclass(cls: type, data: Any, where: str) -> Any:
    if not isinstance(data, dict):
        raise ValueError(f"{where}: expected an object ({cls.__name__}), got {data!r}")
    hints, required = _hints(cls), _required(cls)
    for key in data:
        if key not in hints:
            nearest = difflib.get_close_matches(key, hints, n=1, cutoff=0.0)
            raise ValueError(
                f"{where}: unknown key {key!r}; did you mean {nearest[0]!r}?"
                if nearest
                else f"{where}: unknown key {key!r}; {cls.__name__} has no fields"
            )
    missing = [name for name in required if name not in data]
    if missing:
        raise ValueError(f"{where}: missing key {missing[0]!r}")
    values = {key: _decode(hints[key], item, f"{where}.{key}") for key, item in data.items()}
    try:
        return cls(**values)
    except ValueError as error:
        raise ValueError(f"{where}.{error}") from None


def _decode_union(hint: Any, data: Any, where: str) -> Any:
    if data is None and type(None) in typing.get_args(hint):
        return None
    members = _dataclass_members(hint)
    if len(members) > 1:
        known = {member.__name__: member for member in members}
        kind = data.get(_KIND) if isinstance(data, dict) else None
        if kind not in known:
            raise ValueError(f"{where}.{_KIND}: expected one of {', '.join(sorted(known))}, got {kind!r}")
        return _decode(known[kind], {k: v for k, v in typing.cast(dict[str, Any], data).items() if k != _KIND}, where)
    rest = [arg for arg in typing.get_args(hint) if arg is not type(None)]
    for arg in rest[:-1]:
        try:
            return _decode(arg, data, where)
        except ValueError:
            continue
    return _decode(rest[-1], data, where)


def _decode_literal(hint: Any, data: Any, where: str) -> Any:
    if data not in typing.get_args(hint):
        known = ", ".join(repr(arg) for arg in typing.get_args(hint))
        raise ValueError(f"{where}: expected one of {known}, got {data!r}")
    return data


def _decode_tuple(hint: Any, data: Any, where: str) -> Any:
    if not isinstance(data, (list, tuple)):
        raise ValueError(f"{where}: expected a list, got {data!r}")
    args = typing.get_args(hint)
    if len(args) == 2 and args[1] is Ellipsis:
        args = (args[0],) * len(data)
    if len(args) != len(data):
        raise ValueError(f"{where}: expected {len(args)} items, got {len(data)}")
    return tuple(_decode(arg, item, f"{where}[{i}]") for i, (arg, item) in enumerate(zip(args, data, strict=True)))


def _dataclass_members(hint: Any) -> list[type]:
    return [arg for arg in typing.get_args(hint) if dataclasses.is_dataclass(arg) and isinstance(arg, type)]


@functools.cache
def _required(cls: type) -> tuple[str, ...]:
    """The fields without a default."""
    return tuple(
        field.name
        for field in dataclasses.fields(cls)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    )


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    """The types of the fields by name, in their order."""
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}
