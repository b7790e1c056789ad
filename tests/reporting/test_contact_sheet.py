from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from mas_ray.reporting.contact_sheet import AcceptedSample, ContactSheet, render_contact_sheet
from mas_ray.shards.images import encode_image
from mas_ray.shards.manifest import RejectCount, read_manifest
from mas_ray.shards.reject_samples import RejectSample

JPEG = encode_image(np.zeros((8, 8, 3), np.uint8))


@pytest.fixture
def sheet(tiny_dataset) -> ContactSheet:
    rejects = (
        RejectCount(reason="unreadable_video", level="take", count=1),
        RejectCount(reason="too_small", level="view", count=7),
        RejectCount(reason="no_views", level="instant", count=9),
    )
    return ContactSheet(
        manifest=replace(read_manifest(tiny_dataset.manifest), rejects=rejects),
        accepted=[AcceptedSample(take_id="a<b>", instant=3, view="cam0", picture=JPEG)],
        rejected=[
            RejectSample(take_id="b", reason="too_small", thumbnail=JPEG, instant=4, view="cam1"),
            RejectSample(take_id="c", reason="too_small", thumbnail=JPEG, instant=5, view="c"),
            RejectSample(take_id="d", reason="static", thumbnail=JPEG),
        ],
    )


def test_everything_is_there_and_escaped(sheet):
    page = render_contact_sheet(sheet)
    assert page.count("<img ") == 4
    assert page.count("<img ") == page.count('src="data:image/jpeg;base64,')
    assert "a&lt;b&gt; · frame 3 · cam0" in page
    assert "a<b>" not in page
    assert "c · frame 5<" in page  # a view named like its take is not said twice
    assert "d · whole take" in page
    titles = re.findall(r"<h3>(.*?) <small>(.*?)</small>", page)
    assert titles == [("too small", "7 views"), ("unreadable video", "1 take"), ("static", "")]
    assert "There are no pictures of it." in page
    assert '>24</div><div class="note">9 left out' in page


def test_it_is_one_well_formed_file_that_loads_nothing(sheet):
    page = render_contact_sheet(sheet)
    assert re.findall(r"(?:src|href)=\"(?!data:|#)[^\"]*", page) == []
    assert "url(" not in page
    opened = []

    class Balanced(HTMLParser):
        def handle_starttag(self, tag, attrs):
            if tag not in ("meta", "link", "img"):
                opened.append(tag)

        def handle_endtag(self, tag):
            assert opened.pop() == tag

    Balanced().feed(page)
    assert opened == []


def test_nothing_left_out(sheet):
    page = render_contact_sheet(replace(sheet, manifest=replace(sheet.manifest, rejects=()), rejected=[]))
    assert "Nothing was left out." in page
