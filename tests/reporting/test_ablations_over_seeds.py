from __future__ import annotations

import re

import pytest
from made_up_evaluation import made_up_evaluation

from mas_ray.config.cascade import cpu_cascade, paper_cascade
from mas_ray.config.published import FIG_4, PAPER, TABLE_4
from mas_ray.evaluation.protocol import PROTOCOL
from mas_ray.reporting.ablations import MeasuredRow
from mas_ray.reporting.ablations_over_seeds import ablations_over_seeds_as_markdown
from mas_ray.reporting.beside_published import beside_published

GEODESIC = "without_geodesic"


def _row(name: str, *, percent: float = 4.0, mpjpe_mm: float = 90.0, reconstruction: float = 0.5) -> MeasuredRow:
    evaluation = made_up_evaluation(percent=percent, mpjpe_mm=mpjpe_mm)
    return MeasuredRow(name=name, reconstruction=reconstruction, evaluation=evaluation, supervised=())


def _whole(*values: float) -> dict[str, dict[int, MeasuredRow]]:
    """The whole recipe, with the same value for every figure of a seed."""
    rows = {
        seed: _row("whole", percent=value, mpjpe_mm=value, reconstruction=value) for seed, value in enumerate(values)
    }
    return {"whole": rows}


def _text(measured, *, left_out=(), initial=None, cascade=None) -> str:
    return ablations_over_seeds_as_markdown(
        measured, sweep="night", cascade=cascade or cpu_cascade(), initial=initial, left_out=left_out
    )


def _lines(text: str, start: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(start)]


def test_three_seeds_are_a_mean_and_its_deviation():
    text = _text(_whole(1.0, 2.0, 3.0))
    assert _lines(text, "| Full |") == ["| Full | 2.0 ± 1.0 | 95.9 | 5.00 ± 0.00 | 20.33 | 3 seeds |"]
    assert _lines(text, "| structure prior & ψ |") == ["| structure prior & ψ | 2.00 ± 1.00 | 3.63 | 3 seeds |"]
    assert _lines(text, "| cascade training |") == ["| cascade training | 2.000 ± 1.000 | 2.00 ± 1.00 | 3 seeds |"]
    assert "Seeds: 0, 1, 2." in text


def test_one_seed_has_no_deviation():
    assert _lines(_text(_whole(2.0)), "| Full |") == ["| Full | 2.0 | 95.9 | 5.00 | 20.33 | 1 seed |"]


def test_a_row_that_was_not_trained_has_dashes_and_no_place_in_the_order():
    text = _text(_whole(100.0, 110.0) | {GEODESIC: {1: _row(GEODESIC, mpjpe_mm=99.0)}})
    assert _lines(text, "| wo ψ, G |") == ["| wo ψ, G | - | 127.4 | - | 23.34 | 0 seeds |"]
    assert _lines(text, "| without cascade training \\* |") == ["| without cascade training \\* | - | - | 0 seeds |"]
    (order,) = _lines(text, "- MPJPE mm, best first.")
    assert "Published: Full; wo G. Measured: wo G; Full. 0 of 1 pairs in the published order." in order
    assert "Of the cascade alone, that is without the teacher in either row, this cannot be said here." in text
    assert "Of the whole recipe against one stage it cannot be said." in text
    assert _lines(text, "- 2D %") == ["- 2D %: no two published rows were measured, so there is no order."]


def test_the_order_is_that_of_the_means():
    """Seed by seed the first of two holds and the second does not."""
    measured = _whole(100.0, 110.0) | {
        GEODESIC: {0: _row(GEODESIC, mpjpe_mm=130.0), 1: _row(GEODESIC, mpjpe_mm=105.0)},
    }
    (order,) = _lines(_text(measured), "- MPJPE mm, best first.")
    assert "Measured: Full; wo G. 1 of 1 pairs in the published order." in order


def test_whether_the_cascade_pays_is_said_of_the_means():
    one_stage, untaught, _ = FIG_4

    def verdict(*losses: float) -> str:
        measured = _whole(0.5, 0.5) | {
            one_stage.name: {n: _row(one_stage.name, reconstruction=loss) for n, loss in enumerate(losses)},
            untaught.name: {n: _row(untaught.name, reconstruction=0.4) for n in range(2)},
        }
        return _text(measured).partition("## Fig. 4")[2]

    assert "in either row, this holds here. Of the whole recipe against one stage it does not hold" in verdict(0.3, 0.6)
    assert "in either row, this does not hold here" in verdict(0.3, 0.4)


def test_what_was_measured_and_what_was_not_is_said():
    text = _text(_whole(1.0), left_out=["trial 0007: it failed: no memory"])
    assert "sweep `night`" in text
    assert "random weights: 90 epochs (torso 12, shape_prior 8, limbs 70), each of 50 steps." in text
    assert "8 frame sets of the test split against: made up." in text
    assert PROTOCOL in text
    assert text.endswith("## Trials left out\n\n- trial 0007: it failed: no memory\n")
    other = _text(_whole(1.0), initial="stage-2", cascade=paper_cascade())
    assert "without labels from stage-2: 45 epochs" in other
    assert "each of one pass over the training split." in other
    assert other.endswith("## Trials left out\n\nNone.\n")


def test_tables_are_whole():
    text = _text({row.name: _whole(1.0, 2.0)["whole"] for row in PAPER})
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert [len(re.findall(r"^\|", "\n".join(table), re.MULTILINE)) - 2 for table in tables] == [5, 4, 3]
    assert all(len({line.count("|") for line in table if line.startswith("|")}) == 1 for table in tables)


def test_there_is_a_spread_for_every_row():
    with pytest.raises(ValueError, match=r"^spreads: expected one per row \(5\), got 0$"):
        beside_published(TABLE_4, [row.published for row in TABLE_4], spreads=[])
