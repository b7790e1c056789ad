"""What takes and views are called: ids that are safe as file names, texts that are safe to print."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections import Counter

_LONGEST_ID = 96
_SAFE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_HASHED = re.compile(r"-[0-9a-f]{12}$")
_RESERVED_ON_WINDOWS = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)


def take_ids(names: list[str]) -> list[str]:
    """Ids of all takes of a corpus, in the order of their names.

    Where two differ in nothing but case, those with capitals get their hash as well: some systems hold them equal.
    """
    ids = [take_id(name) for name in names]
    alike = Counter(id_.lower() for id_ in ids)
    return [
        _hashed(name) if alike[id_.lower()] > 1 and id_ != id_.lower() else id_
        for name, id_ in zip(names, ids, strict=True)
    ]


def take_id(name: str) -> str:
    """The id of the take that is called ``name``, which is its path within the corpus.

    It is the name itself where that is safe as a file name on any system; otherwise what can be kept of it and a hash
    of all of it. So it depends on no other take, and no two names share one.
    """
    plain = len(name) <= _LONGEST_ID and _SAFE.fullmatch(name) and not name.endswith(".")
    return name if plain and not _HASHED.search(name) and not _RESERVED_ON_WINDOWS.match(name) else _hashed(name)


def printable(name: str) -> str:
    """A name as text of one line: composed, with control characters and bytes that are no text escaped."""
    return escaped(unicodedata.normalize("NFC", os.fsencode(name).decode("utf-8", "backslashreplace")))


def escaped(text: str) -> str:
    """A text with control characters, line breaks and halves of surrogate pairs escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _hashed(name: str) -> str:
    cleaned = re.sub(r"[^A-Za-z0-9._-]+", "_", name).lstrip(".-")[: _LONGEST_ID - 13]
    if not cleaned or _RESERVED_ON_WINDOWS.match(cleaned):
        cleaned = "_" + cleaned[:-1]
    return f"{cleaned}-{hashlib.sha256(os.fsencode(name)).hexdigest()[:12]}"
