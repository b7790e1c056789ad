from __future__ import annotations

import dataclasses
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from report_sample import HOSTILE, sample_evaluation, sample_report_data, sample_sequence

from mas_ray.reporting.charts import line_chart, short_number
from mas_ray.reporting.report import render_report
from mas_ray.reporting.viewer import pose_sequences, upright_from_world, viewer_data
from mas_ray.shards.manifest import InstantRange, Splits
from mas_ray.skeleton import H36M_18

VOID = {"meta", "link", "img", "input", "br", "hr"}
SVG_VOID = {"line", "polyline", "circle"}


class Page(HTMLParser):
    """Checks that elements nest, and collects text, tags and attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        assert tag in SVG_VOID
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def parsed(html: str) -> Page:
    page = Page()
    page.feed(html)
    page.close()
    assert page.open == []
    return page


def test_the_page_is_well_formed_and_hostile_text_stays_text():
    html = render_report(sample_report_data())
    page = parsed(html)
    assert [attributes for tag, attributes in page.tags if tag == "script"] == [
        {"type": "application/json", "id": "viewer-data"},
        {},
    ]
    assert not any("onerror" in attributes for _, attributes in page.tags)
    assert html.count("<script") == 2
    assert HOSTILE in page.text


def test_the_page_needs_nothing_from_elsewhere():
    page = parsed(render_report(sample_report_data()))
    addresses = [a.get("src") or a.get("href") for tag, a in page.tags if tag in ("script", "img", "link", "iframe")]
    assert all(address is None or address.startswith("data:") for address in addresses)
    assert not re.search(r"url\(|@import|https?://", render_report(sample_report_data()))
    (video,) = (attributes for tag, attributes in page.tags if tag == "video")
    assert video["src"] == "predictions/overlays/dance%20%22-cam.mp4"
    assert video["preload"] == "none"


def test_equal_data_gives_equal_bytes():
    assert render_report(sample_report_data()) == render_report(sample_report_data())


def test_figures_and_their_conditions_are_stated():
    text = parsed(render_report(sample_report_data())).text
    for stated in (
        "91.2 mm",
        "3.63 %",
        "Training and test frames come from the same clip (dance)",
        "against this reference, its own error included: triangulated OpenPose",
        "2 more have no reference",
        "12.0 mm in front of the straight leg (standard error 1.5 mm over 8 poses",
        "so the names are kept",
        "r = 20.3 %",
        "no person",
        "1,234",
    ):
        assert stated in text, stated


def test_no_caution_about_the_clip_when_the_takes_are_new():
    data = sample_report_data()
    evaluation = sample_evaluation()
    source = dataclasses.replace(evaluation.source, takes_also_trained_on=())
    fresh = dataclasses.replace(data, evaluation=dataclasses.replace(evaluation, source=source))
    assert "same clip" not in render_report(fresh)


def test_an_exchange_decided_by_the_knees_is_said_in_both_places():
    data = dataclasses.replace(sample_report_data(), evaluation=sample_evaluation(chirality_mm=-9.0))
    text = parsed(render_report(data)).text
    assert "9.0 mm behind the straight leg" in text
    assert "so the names are exchanged" in text
    assert "Left and right are exchanged in all predictions" in text


def test_what_is_missing_is_said():
    bare = dataclasses.replace(sample_report_data(), stages=(), gallery=(), sequences=(), videos=(), evaluation=None)
    text = parsed(render_report(bare)).text
    for stated in ("makes no claim of accuracy", "No overlay videos", "No triangulated poses", "No stage has reported"):
        assert stated in text


def test_line_chart_leaves_out_what_is_not_finite():
    chart = line_chart("total", [(0.0, 4.0), (1.0, np.nan), (2.0, 1.0)], x_name="step")
    (points,) = re.findall(r'points="([^"]+)"', chart)
    assert len(points.split()) == 2
    assert "<b>1</b>" in chart
    assert "no finite value" in line_chart("total", [(0.0, np.inf)], x_name="step")


def test_line_chart_puts_larger_values_higher_and_survives_constants():
    (points,) = re.findall(r'points="([^"]+)"', line_chart("t", [(0.0, 1.0), (9.0, 5.0)], x_name="step"))
    (x0, y0), (x1, y1) = (map(float, point.split(",")) for point in points.split())
    assert x0 < x1
    assert y0 > y1
    assert "nan" not in line_chart("t", [(0.0, 0.0), (9.0, 0.0)], x_name="step")
    assert "nan" not in line_chart("t", [(3.0, 2.0)], x_name="step")


@pytest.mark.parametrize(("value", "text"), [(0.0, "0"), (0.01234, "0.0123"), (123.4, "123"), (2e-5, "2.0e-05")])
def test_short_number(value, text):
    assert short_number(value) == text


@pytest.mark.parametrize("up", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (-1, 0, 0), (0, -1, 0), (0, 0, -1)])
def test_upright_is_a_rotation_that_brings_up_onto_y(up):
    rotation = upright_from_world(0.9 * np.array(up) + 0.1)
    assert np.allclose(rotation @ up, (0, 1, 0))
    assert np.linalg.det(rotation) == pytest.approx(1)


def test_viewer_data_is_json_with_nulls_for_what_is_missing():
    data = viewer_data([sample_sequence("a", with_reference=True)], H36M_18)
    (sequence,) = json.loads(json.dumps(data, allow_nan=False))["sequences"]
    assert sequence["predicted"][-1] is None
    assert len(sequence["predicted"][0]) == 54
    assert sequence["reference"][0][12:15] == [None] * 3
    assert len(data["bones"]) == 17


def test_pose_sequences_join_the_reference_and_the_splits():
    pose = np.arange(54.0).reshape(18, 3).tolist()
    rows = [
        {"take_id": "a", "instant": n, "timestamp_s": n / 50, "joints_world_mm": pose if n else None} for n in range(6)
    ] + [{"take_id": "b", "instant": 0, "timestamp_s": 0.0, "joints_world_mm": None}]
    splits = Splits(
        train=(InstantRange(take_id="a", start=0, stop=3),),
        validation=(),
        test=(InstantRange(take_id="a", start=4, stop=6),),
    )
    reference = {("a", 4): pose, ("a", 5): pose}
    upwards = {"a": np.array([0.0, 0.0, 1.0]), "b": np.array([0.0, 0.0, 1.0])}

    def sequences(*, exchange_sides: bool):
        return pose_sequences(
            rows, reference, upwards=upwards, splits=splits, skeleton=H36M_18, exchange_sides=exchange_sides
        )

    compared, whole = sequences(exchange_sides=False)
    assert compared.instants == (4, 5)
    assert compared.reference_mm is not None
    assert whole.splits == ("train", "train", "train", "", "test", "test")
    assert whole.frames_per_s == pytest.approx(50)
    assert np.isnan(whole.predicted_mm[0]).all()
    exchanged, _ = sequences(exchange_sides=True)
    left, right = H36M_18.index("left_knee"), H36M_18.index("right_knee")
    assert np.array_equal(exchanged.predicted_mm[:, left], compared.predicted_mm[:, right])
