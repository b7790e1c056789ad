from __future__ import annotations

import os
import re

import pytest

from mas_ray.corpora.names import printable, take_id, take_ids

_TRICKY = [
    "été 2024.mp4",
    "a b.mp4",
    "a  b.mp4",
    "a_b.mp4 ",
    "a/b.mp4",
    "a/../b.mp4",
    "日本.mp4",
    "本日.mp4",
    "x*?",
    "caf\u00e9.mp4",
    "cafe\u0301.mp4",
    "line\nbreak.mp4",
    os.fsdecode(b"\xff\xfe.mp4"),
    os.fsdecode(b"\xfe\xff.mp4"),
    "-rf.mp4",
    "--.mp4",
    "%2e%2e'\".mp4",
    "x" * 251 + ".mp4",
    "x" * 250 + "y.mp4",
    "con.mp4",
    "NUL",
    "a/con",
    "ends.",
    "COM1.tar",
]


@pytest.mark.parametrize("name", ["a", "a_b", "k.mov", "IMG_0001.MP4", "s00_t01-walk", "x" * 96, "constant.mp4"])
def test_a_safe_name_is_the_id(name: str):
    assert take_id(name) == name


@pytest.mark.parametrize("name", _TRICKY)
def test_ids_are_safe_as_file_names(name: str):
    found = take_id(name)
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*-[0-9a-f]{12}", found)
    assert len(found) <= 96
    assert found.split(".")[0].lower() not in {"con", "nul", "com1"}


def test_no_two_names_share_an_id():
    ids = [take_id(name) for name in _TRICKY]
    names = [*_TRICKY, *ids]  # the ids of others are names too
    assert len({take_id(name).lower() for name in names}) == len(names)


def test_an_id_does_not_depend_on_the_other_names():
    assert take_ids(_TRICKY) == [take_id(name) for name in _TRICKY]
    assert take_ids(_TRICKY[::-1]) == take_ids(_TRICKY)[::-1]


def test_names_that_differ_in_case_alone_differ_on_systems_that_ignore_it():
    lower, upper, mixed, other = take_ids(["clip.mp4", "CLIP.mp4", "Clip.mp4", "Other.mp4"])
    assert (lower, other) == ("clip.mp4", "Other.mp4")
    assert len({lower.lower(), upper.lower(), mixed.lower()}) == 3


def test_printable_text_is_composed_and_of_one_line():
    assert printable("cafe\u0301 日本") == "caf\u00e9 日本"
    assert printable(os.fsdecode(b"a\nb\xff")) == r"a\nb\xff"
