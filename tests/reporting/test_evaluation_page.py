from __future__ import annotations

import dataclasses
import re

import pytest
from made_up_evaluation import made_up_evaluation
from report_sample import HOSTILE
from test_report import SVG_VOID, parsed

from mas_ray.evaluation.record import (
    ActionErrors,
    Evaluation,
    PaperErrors,
    PaperProtocol,
    ReferenceFault,
    SupervisedErrors,
)
from mas_ray.reporting.charts import histogram
from mas_ray.reporting.evaluation_page import EvaluationPage, Outcome, render_evaluation

SVG_VOID.add("rect")


def _evaluation() -> Evaluation:
    plain = made_up_evaluation()
    (raw, bit, oracle) = plain.accuracy
    walk = ActionErrors(
        action=HOSTILE, num_frame_sets=8, triangulated=bit.triangulated, monocular=None, keypoints=bit.keypoints
    )
    paper = PaperErrors(
        handling="oracle_pairs",
        percent_of_two_metres=3.21,
        mpjpe_mm=95.94,
        n_mpjpe_mm=96.8,
        p_mpjpe_mm=90.4,
        pck_150_percent=60.2,
        auc_150_percent=24.7,
        num_poses=32,
    )
    network = SupervisedErrors(
        regressor="two_hidden_layers",
        triangulated=bit.triangulated,
        percent_of_crop=2.52,
        groups=(),
        alpha_triangulated=1e-2,
        alpha_keypoints=1e-2,
        num_training_poses=1234,
        num_training_views=5000,
    )
    return dataclasses.replace(
        plain,
        source=dataclasses.replace(
            plain.source, checkpoint=HOSTILE, faults=(ReferenceFault(take_id="dance", fault="the pelvis drifts"),)
        ),
        accuracy=(raw, dataclasses.replace(bit, actions=(walk,)), oracle),
        accuracy_without_faults=(raw,),
        paper=PaperProtocol(protocol="as released", lenient=("kind",), ambiguity_ratio=0.2, errors=(paper,)),
        supervised=(network,),
    )


def _page() -> EvaluationPage:
    outcome = Outcome(take_id=HOSTILE, instant=7, error="12.3 mm", picture=b"jpeg")
    return EvaluationPage(
        evaluation=_evaluation(), spreads={"2D": ("%", [1.0, 2.0, float("nan")])}, best=[outcome], worst=[]
    )


def test_everything_is_on_the_page_and_hostile_text_stays_text():
    html = render_evaluation(_page())
    page = parsed(html)
    for said in (
        "the pelvis drifts",
        "95.9",
        "as released",
        "kind",
        "a network, two hidden layers",
        "1,234",
        "fitted to the labels of the training split",
        f"{HOSTILE} · frame 7 · 12.3 mm",
        "There are none.",
    ):
        assert said in page.text, said
    assert page.text.count(HOSTILE) >= 4
    assert "<script" not in html
    assert not re.search(r"url\(|@import|https?://", html)


def test_an_evaluation_without_the_rest_is_a_page_too():
    plain = dataclasses.replace(_page(), evaluation=made_up_evaluation())
    text = parsed(render_evaluation(plain)).text
    assert "damaged" not in text
    assert "supervised post-processing" not in text


def test_a_histogram_counts_every_finite_value_once():
    chart = histogram("2D", [0.0, 1.0, 1.1, 4.0, float("nan")], unit="%", num_bins=4)
    heights = [float(height) for height in re.findall(r'<rect [^>]* height="([0-9.]+)"', chart)]
    tallest = max(heights)
    assert [round(2 * height / tallest) for height in heights] == [1, 2, 0, 1]
    assert "median 1.1 %" in chart


@pytest.mark.parametrize("values", [[], [float("nan")]])
def test_a_histogram_of_nothing_says_so(values):
    assert "no finite value" in histogram("2D", values, unit="%")


def test_a_histogram_of_zeros_is_one_bar():
    heights = re.findall(r'<rect [^>]* height="([0-9.]+)"', histogram("2D", [0.0, 0.0], unit="%", num_bins=3))
    assert [float(height) > 0 for height in heights] == [True, False, False]
