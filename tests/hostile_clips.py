"""A corpus of bad and tricky clips, each with the outcome that ingest must give it.

``python tests/hostile_clips.py FOLDER`` writes it and prints the table.

Clips that ingest reads up to their masks are takes of one view with exact masks beside the video, so their outcomes
hold with ``ProvidedMasks``; a method that finds people itself should agree.
"""

from __future__ import annotations

import functools
import os
import socket
import struct
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Literal

import cv2
import numpy as np
import odd_videos as odd
from odd_videos import Encode, Images, damaged, encoder, h264

from mas_ray.corpora.synthetic.config import SyntheticConfig
from mas_ray.corpora.synthetic.recording import frames, record

Step = Literal["listing", "decoding", "curation", "masks", "people", "none"]
Change = Callable[[Images, Images], tuple[Images, Images]]

_NUM_FRAMES = 16


@dataclass(frozen=True, kw_only=True)
class HostileClip:
    """One kind.

    Attributes:
        kind: What is odd about it.
        name: Its path within the corpus: of the video, or of the take.
        outcome: ``accepted``, ``not_listed`` (no source at all), or the reason of its reject.
        decided_by: The step of ingest that rejects it; ``none`` if it is accepted. ``people`` is a mask method that
            looks for people: with ``ProvidedMasks``, which are taken as they are, the clip is accepted.
        write: Writes it at a path whose folder exists.
    """

    kind: str
    name: str
    outcome: str
    decided_by: Step
    write: Callable[[Path], None]


def write_hostile_clips(root: Path) -> tuple[HostileClip, ...]:
    """Write the corpus into a folder that is not there yet; what links lead to lies in ``<root>.outside``."""
    root.mkdir(parents=True)
    outside = root.with_name(f"{root.name}.outside")
    outside.mkdir()
    h264(outside / "clip.mp4", _person(0)[0])
    clips = hostile_clips(root.name)
    for clip in clips:
        path = root / clip.name
        path.parent.mkdir(parents=True, exist_ok=True)
        clip.write(path)
    return clips


def hostile_clips(root_name: str = "corpus") -> tuple[HostileClip, ...]:
    """All kinds, for a corpus in a folder of this name."""
    outside = f"../{root_name}.outside"
    return (
        *_not_videos(outside),
        *_damaged_and_lying(),
        *_oddly_encoded(),
        *_poor_pictures(),
        *_copies(),
        *_names(),
        *_not_files(outside),
    )


@contextmanager
def growing(path: Path) -> Generator[None, None, None]:
    """Append to a file for as long as the block runs, as a download does: ``changed_while_read``."""
    stop = Event()

    def append() -> None:
        with path.open("ab", buffering=0) as file:
            while not stop.wait(0.01):
                file.write(bytes(997))

    thread = Thread(target=append)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _not_videos(outside: str) -> Iterator[HostileClip]:
    noise = np.random.default_rng(0)
    picture = noise.integers(0, 255, (64, 64, 3)).astype(np.uint8)
    contents = {
        "zero bytes": b"",
        "text": b"not a video",
        "html": b"<!DOCTYPE html><html><title>404 Not Found</title><body>Not Found</body></html>",
        "random bytes": noise.bytes(20_000),
        "zeros": bytes(20_000),
        "png": cv2.imencode(".png", picture)[1].tobytes(),
        "jpeg": cv2.imencode(".jpg", picture)[1].tobytes(),
        "playlist": b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
        "concat script": f"ffconcat version 1.0\nfile {outside}/clip.mp4\n".encode(),
        "signature alone": struct.pack(">I", 24) + b"ftypisom\0\0\2\0isomiso2",
        "box of 4 exabytes": struct.pack(">I4sQ", 1, b"moov", 1 << 62) + bytes(64),
        "subtitles": b"1\n00:00:00,000 --> 00:00:09,000\nHello\n",
    }
    for kind, content in contents.items():
        yield _file(kind, "unreadable_video", "decoding", functools.partial(_put, content=content))
    yield _file("sound only", "unreadable_video", "decoding", odd.sound_only)
    yield _file("gif", "unreadable_video", "decoding", lambda path: odd.gif(path, _person(1)[0]))
    yield _file("video called text", "not_listed", "listing", lambda path: h264(path, _person(1)[0]), suffix=".txt")
    yield _take("wrong extension", 14, encoder("libx264", "yuv420p", container="avi"))


def _damaged_and_lying() -> Iterator[HostileClip]:
    files: list[tuple[str, str, Encode]] = [
        ("cut off at 10 %", "unreadable_video", damaged(h264, lambda path: odd.cut(path, 0.1))),
        ("index cut off", "unreadable_video", damaged(odd.h264_index_last, lambda path: odd.cut(path, 0.9))),
        ("random start", "unreadable_video", damaged(h264, lambda path: odd.patch(path, 0, _NOISE))),
        ("no frame decodes", "unreadable_video", damaged(h264, odd.zero_data)),
        ("claims 12000 px", "too_large", functools.partial(_claim_pixels, size_px=12_000)),
        (
            "claims 16384 px",
            "unreadable_video",
            functools.partial(_claim_pixels, size_px=16_384),
        ),  # more than FFmpeg has
        ("claims 1e9 frames", "too_long", damaged(odd.ffv1_avi, _claim_frames)),
        ("size changes", "changing_size", odd.changing_size),
    ]
    for number, (kind, outcome, encode) in enumerate(files, start=2):
        yield _file(kind, outcome, "decoding", functools.partial(_filmed, encode=encode, number=number))
    yield _file("one frame", "too_few_frames", "curation", lambda path: h264(path, _person(10)[0][:1]))
    one_pixel = [np.full((1, 1, 3), 16 * i, np.uint8) for i in range(_NUM_FRAMES)]
    yield _file("one pixel", "blank", "curation", lambda path: odd.ffv1_avi(path, one_pixel))
    yield _take("three quarters of it", 11, damaged(h264, lambda path: odd.cut_data(path, 0.75)))
    yield _take("nine tenths of it", 12, damaged(h264, lambda path: odd.cut_data(path, 0.9)))
    yield _take("garbage in the middle", 13, damaged(h264, odd.garble))


def _oddly_encoded() -> Iterator[HostileClip]:
    x264 = functools.partial(encoder, "libx264", "yuv420p")
    kinds: dict[str, Encode] = {
        "10 bits": encoder("libx264", "yuv420p10le"),
        "alpha": encoder("qtrle", "argb", container="mov"),
        "grey": encoder("ffv1", "gray", container="matroska"),
        "full chroma": encoder("libx264", "yuv444p"),
        "interlaced": encoder("mpeg2video", "yuv420p", container="mpeg", rate=25, flags="+ilme+ildct", b="4M"),
        "varying rate": x264(pts_ms=lambda i: 40 * i * i),
        "a frame per hour": x264(pts_ms=lambda i: 3_600_000 * i),
        "1000 per s": x264(rate=1000),
        "negative times": x264(
            container="matroska", pts_ms=lambda i: 125 * i - 1000, muxing={"avoid_negative_ts": "disabled"}
        ),
        "reordered, edit list": x264(bf="3", g="12"),
        "times go back": damaged(encoder("flv", "yuv420p", container="flv", b="4M"), odd.shuffle_flv_times),
        "rate of 0": damaged(odd.ffv1_avi, _claim_no_rate),
        "several streams": odd.two_streams,
    }
    for number, (kind, encode) in enumerate(kinds.items(), start=20):
        yield _take(kind, number, encode)
    for degrees in (90, 180, 270):
        yield _take(f"turned by {degrees}", 33 + degrees // 90, odd.turned(degrees), masks=odd.turned(degrees))


def _poor_pictures() -> Iterator[HostileClip]:
    blank = _each(np.zeros_like)
    yield _take("black frames", 40, change=lambda a, b: (blank(a), b), outcome="blank", step="curation")
    yield _take("static picture", 41, change=lambda a, b: (_first(a), _first(b)), outcome="static", step="curation")
    blurred = _each(lambda image: cv2.GaussianBlur(image, (0, 0), 8))
    large = _each(lambda image: cv2.resize(image, None, fx=3, fy=3, interpolation=cv2.INTER_LINEAR))
    yield _take("out of focus", 58, change=lambda a, b: (blurred(large(a)), large(b)), outcome="blurred", step="masks")
    yield _take("nobody", 43, change=lambda a, b: (_ball(a[0]), blank(b)), outcome="no_person", step="masks")
    yield _take("two people", 44, change=_beside_another, outcome="several_people", step="people")
    legless = _each(lambda image: image[:108])
    yield _take("cut by the border", 46, change=_both(legless), outcome="touches_border", step="masks")
    strip = _each(lambda image: image[:, 76:84])
    yield _take("strip of 8 px", 47, change=_both(strip), outcome="touches_border", step="masks")
    yield _take("far away", 48, change=_both(_far), outcome="too_small", step="masks")
    jumping = [lambda b, i=i: b[::-1] if i % 2 else b for i in range(_NUM_FRAMES)]
    yield _take(
        "masks jump",
        49,
        change=lambda a, b: (a, [jump(mask) for jump, mask in zip(jumping, b, strict=True)]),
        outcome="too_few_frames",  # of which masks are like their neighbours
        step="masks",
    )
    yield _take("two shots", 50, change=_then_another)
    yield _take("flashes", 52, change=lambda a, b: ([cv2.add(x, 90 * (i % 7 == 3)) for i, x in enumerate(a)], b))
    wide = _each(lambda image: np.pad(image, ((0, 0), (320, 320), (0, 0)), "edge"))
    yield _take("five to one", 53, change=_both(wide))


def _copies() -> Iterator[HostileClip]:
    yield _take("copied", 55)
    yield _take("copied once more", 55, outcome="duplicate", step="curation")
    smaller = _each(lambda image: cv2.resize(image, (128, 144), interpolation=cv2.INTER_AREA))
    yield _take("copied smaller", 55, change=_both(smaller), outcome="near_duplicate", step="curation")


def _names() -> Iterator[HostileClip]:
    names = {
        "spaces": "a clip  with spaces",
        "newline": "two\nlines",
        "escape codes": "\x1b[31mred\x07",
        "unicode": "été 日本 🕺",
        "composed": "caf\u00e9",
        "decomposed": "cafe\u0301",
        "no utf-8": os.fsdecode(b"caf\xe9 \xff\xfe"),
        "dots": "a..b..",
        "leading dash": "-rf",
        "quotes and percent": "100%'\"$(x)`y`;%2e%2e%2f",
        "255 bytes": "x" * 255,
        "reserved on windows": "con",
        "shell pattern": "[a-z]*?",
        "lower case": "case",
        "upper case": "CASE",
        "nested": "a/b/c",
        "nested, flat": "a_b_c",
    }
    for number, (kind, name) in enumerate(names.items(), start=60):
        yield _take(f"name: {kind}", number, name=name)
    yield _file("name: hidden", "not_listed", "listing", lambda path: h264(path, _person(1)[0]), name=".hidden.mp4")


def _not_files(outside: str) -> Iterator[HostileClip]:
    links = [
        ("link out of the corpus", "out.mp4", f"{outside}/clip.mp4", "unsafe_link"),
        ("link to a folder outside", "out", outside, "unsafe_link"),
        ("link to the corpus", "loops/again", "..", "unsafe_link"),
        ("link to itself", "itself.mp4", "itself.mp4", "unsafe_link"),
        ("links to each other", "loops/a.mp4", "b.mp4", "unsafe_link"),
        ("links to each other, too", "loops/b.mp4", "a.mp4", "unsafe_link"),
        ("link to a device", "zero.mp4", "/dev/zero", "unsafe_link"),
        ("link to nothing", "dangling.mp4", "nothing.mp4", "unreadable_file"),
    ]
    for kind, name, target, outcome in links:
        yield _file(kind, outcome, "listing", functools.partial(Path.symlink_to, target=target), name=name)
    yield _file("pipe", "unreadable_file", "listing", os.mkfifo)
    yield _file("socket", "unreadable_file", "listing", _bind)
    yield _file("folder", "bad_layout", "listing", Path.mkdir)
    if os.geteuid():
        yield _file("no permission", "unreadable_file", "listing", _lock)
    else:  # a superuser reads it nevertheless, and finds no video
        yield _file("no permission", "unreadable_video", "decoding", _lock)


_NOISE = np.random.default_rng(1).bytes(2000)


def _file(
    kind: str,
    outcome: str,
    decided_by: Step,
    write: Callable[[Path], None],
    *,
    suffix: str = ".mp4",
    name: str | None = None,
) -> HostileClip:
    """A single video, or what is called one."""
    name = name or f"{_plain(kind)}{suffix}"
    return HostileClip(kind=kind, name=name, outcome=outcome, decided_by=decided_by, write=write)


def _take(
    kind: str,
    number: int,
    encode: Encode = h264,
    *,
    masks: Encode = h264,
    change: Change = lambda images, masks: (images, masks),
    outcome: str = "accepted",
    step: Step = "none",
    name: str | None = None,
) -> HostileClip:
    """A take of one view: a person of their own, changed, with exact masks."""

    def write(path: Path) -> None:
        for part in ("videos", "masks"):
            (path / part).mkdir(parents=True)
        pictures, of_person = change(*_person(number))
        encode(path / "videos" / "cam.mp4", pictures)
        masks(path / "masks" / "cam.mp4", of_person)

    return HostileClip(kind=kind, name=name or _plain(kind), outcome=outcome, decided_by=step, write=write)


def _plain(kind: str) -> str:
    return "_".join(kind.replace("%", "percent").replace(",", "").replace("-", "").split())


@functools.lru_cache(maxsize=2)
def _person(number: int) -> tuple[Images, Images]:
    """A moving person before a room, wholly in the picture, and grey pictures of the masks; another for each number."""
    config = SyntheticConfig(
        num_subjects=1,
        takes_per_subject=8,
        instants_per_take=_NUM_FRAMES,
        num_cameras=1,
        fps=odd.RATE,
        width_px=160,
        height_px=176,
        person_height_fraction=0.5,
        seed=number,
    )
    for take in range(config.takes_per_subject):
        seen = list(frames(record(config, 0, take), "cam01"))
        if not any(mask[edge].any() for _, mask in seen for edge in (0, -1, np.s_[:, 0], np.s_[:, -1])):
            return [image for image, _ in seen], [np.repeat(mask[..., None] * np.uint8(255), 3, 2) for _, mask in seen]
    raise ValueError(f"person {number}: expected to stay in the picture in one of their takes")


def _filmed(path: Path, *, encode: Encode, number: int) -> None:
    encode(path, _person(number)[0])


def _put(path: Path, *, content: bytes) -> None:
    path.write_bytes(content)


def _claim_frames(path: Path) -> None:
    for chunk, offset in ((b"avih", 20), (b"strh", 36)):
        odd.patch_after(path, chunk, offset, struct.pack("<I", 10**9))


def _claim_pixels(path: Path, images: Images, *, size_px: int) -> None:
    encoder("ffv1", "yuv420p", container="matroska")(path, [cv2.resize(images[0], (256, 256))])
    true, claimed = (b"\xb0\x82%s\xba\x82%s" % (2 * (struct.pack(">H", size),)) for size in (256, size_px))
    odd.patch(path, path.read_bytes().index(true), claimed)


def _claim_no_rate(path: Path) -> None:
    for chunk, offset, size in ((b"avih", 4, 4), (b"strh", 24, 8)):
        odd.patch_after(path, chunk, offset, bytes(size))


def _bind(path: Path) -> None:
    """A socket; by way of a short path, for its own must be."""
    folder = os.open(path.parent, os.O_DIRECTORY)
    try:
        with socket.socket(socket.AF_UNIX) as end:
            end.bind(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)


def _lock(path: Path) -> None:
    path.write_text("not for everybody")
    path.chmod(0)


def _each(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Images], Images]:
    return lambda images: [change(image) for image in images]


def _both(change: Callable[[Images], Images]) -> Change:
    return lambda images, masks: (change(images), change(masks))


def _first(images: Images) -> Images:
    return images[:1] * len(images)


def _ball(room: np.ndarray) -> Images:
    """A ball rolls before an empty wall."""
    wall = np.full_like(room, 110)
    wall[room.shape[0] * 3 // 4 :] = 70
    places = [(20 + 8 * i, room.shape[0] * 3 // 4) for i in range(_NUM_FRAMES)]
    return [cv2.circle(wall.copy(), place, 14, (200, 60, 40), -1) for place in places]


def _beside_another(images: Images, masks: Images) -> tuple[Images, Images]:
    others, other_masks = _person(45)
    return (
        [np.hstack(pair) for pair in zip(images, others, strict=True)],
        [np.hstack(pair) for pair in zip(masks, other_masks, strict=True)],
    )


def _then_another(images: Images, masks: Images) -> tuple[Images, Images]:
    others, other_masks = _person(51)
    half = _NUM_FRAMES // 2
    return images[:half] + [255 - image for image in others[half:]], masks[:half] + other_masks[half:]


def _far(images: Images) -> Images:
    """The pictures small in a large one that continues their border, and on their way through it."""
    small = (cv2.resize(image, (40, 44), interpolation=cv2.INTER_AREA) for image in images)
    return [np.pad(x, ((200, 200), (40 + 20 * i, 360 - 20 * i), (0, 0)), "edge") for i, x in enumerate(small)]


if __name__ == "__main__":
    for written in write_hostile_clips(Path(sys.argv[1])):
        print(f"{written.kind:28}{written.outcome:20}{written.decided_by:10}{written.name!r}")
