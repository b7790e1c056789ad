"""Fields of a job by their dotted paths, such as ``cascade.stages.limbs.loss_weights.symmetry``.

An item of a tuple is named by its index, or by its ``name`` if it has one, as stages do; ``*`` stands for every item.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, TypeVar

from mas_ray.config import codec

T = TypeVar("T")


def matching(config: Any, path: str) -> tuple[str, ...]:
    """The fields that a path stands for, each by its concrete path: with indices for names and for ``*``.

    Raises:
        ValueError: There is no such field; the message says where the path fails, and the nearest name there.
    """
    return tuple(values_at(config, path))


def values_at(config: Any, path: str) -> dict[str, Any]:
    """What a config has in the fields that a path stands for, as plain lists, dicts and scalars, by concrete path.

    Raises:
        ValueError: As ``matching``.
    """
    return {".".join(keys): value for keys, value in _fields(codec.to_json(config), path, type(config).__name__)}


def with_values(config: T, values: Mapping[str, Any]) -> T:
    """The config with other values in some fields, all of it checked again.

    Args:
        config: Of any type that the codec knows.
        values: By path; all fields that a path stands for have the same. A whole number does for a fraction, but not
            the other way round.

    Raises:
        ValueError: A path stands for no field, a value has the wrong type, or the config does not take it; the message
            has the path.
    """
    data = codec.to_json(config)
    for path, value in values.items():
        for (*parents, last), _ in _fields(data, path, type(config).__name__):
            holder = data
            for key in parents:
                holder = _item(holder, key)
            holder[int(last) if isinstance(holder, list) else last] = codec.to_json(value)
    return codec.from_json(type(config), data)


def _fields(data: Any, path: str, root: str) -> list[tuple[tuple[str, ...], Any]]:
    """The steps down to each field of a path, and what is there."""
    found: list[tuple[tuple[str, ...], Any]] = [((), data)]
    for part in path.split("."):
        below: list[tuple[tuple[str, ...], Any]] = []
        for keys, value in found:
            known = _keys_by_name(value)
            if part not in known:
                raise ValueError(f"{path}: {'.'.join(keys) or root} has {_instead(part, list(known))}")
            below += [((*keys, key), _item(value, key)) for key in known[part]]
        found = below
    return found


def _keys_by_name(data: Any) -> dict[str, tuple[str, ...]]:
    """What can follow in a path, and what it stands for. An index goes before an equal name, and stays what it is."""
    if isinstance(data, dict):
        return {name: (name,) for name in data}
    if not isinstance(data, list) or not data:
        return {}
    indices = tuple(map(str, range(len(data))))
    names = {item["name"]: (index,) for index, item in zip(indices, data, strict=True) if _has_name(item)}
    return names | {index: (index,) for index in indices} | {"*": indices}


def _has_name(item: Any) -> bool:
    return isinstance(item, dict) and isinstance(item.get("name"), str)


def _item(data: Any, key: str) -> Any:
    return data[int(key)] if isinstance(data, list) else data[key]


def _instead(part: str, known: list[str]) -> str:
    nearest = difflib.get_close_matches(part, known, n=1, cutoff=0.0)
    return f"no {part!r}; did you mean {nearest[0]!r}?" if nearest else "no fields below it"
