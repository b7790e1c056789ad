from __future__ import annotations

import pytest

from mas_ray.config.published import FIG_4, TABLE_4, TABLE_5, Figures
from mas_ray.reporting.beside_published import beside_published, caveats, marked


def test_published_figures_reproduce_their_own_order():
    for rows in (TABLE_4, TABLE_5):
        text = beside_published(rows, [row.published for row in rows])
        assert text.count("3 of 3 pairs in the published order.") == 2 * text.count("best first")
        assert "does not hold" not in text
    lines = beside_published(TABLE_4, [row.published for row in TABLE_4]).splitlines()
    assert lines[0] == "|  | MPJPE mm measured | MPJPE mm published | r % measured | r % published |"
    assert lines[2] == "| wo ψ, G, Δ \\* | 118.1 | 118.1 | 48.73 | 48.73 |"
    assert lines[3] == "| wo ψ, G, teacher (not of the paper) | - | - | - | - |"
    assert lines[-3].startswith("- MPJPE mm, best first. Published: Full; wo G; wo ψ, G, Δ; wo ψ, G. ")
    assert lines[-1].startswith("- \\* Not that alone (wo ψ, G, Δ): also without the teacher ")


def test_an_order_that_does_not_hold_is_said():
    measured = [Figures(percent_of_crop=value) for value in (9.0, 12.0, 7.0, 8.0)]
    text = beside_published(TABLE_5, measured)
    assert "| wo structure prior + SPP \\* | 7.00 | 9.32 |" in text
    assert "Measured: wo structure prior + SPP; structure prior & ψ; wo structure prior, wo ψ; wo structure" in text
    alone, confounded = text.split(" By the caveat below no proof either way: ")
    assert alone.endswith(
        "2 of 3 pairs in the published order. What does not hold: wo structure prior better than wo "
        "structure prior, wo ψ."
    )
    assert confounded.startswith(
        "2 of 3 pairs in the published order. What does not hold: structure prior & ψ better "
        "than wo structure prior + SPP.\n"
    )


def test_a_pair_that_differs_in_more_is_no_verdict_whichever_way_it_goes():
    measured = [Figures(mpjpe_mm=value) for value in (300.0, 200.0, 110.0, 100.0, 90.0)]
    line = next(line for line in beside_published(TABLE_4, measured).splitlines() if line.startswith("- MPJPE"))
    alone, confounded = line.split(" By the caveat below no proof either way: ")
    assert alone.endswith("3 of 3 pairs in the published order.")
    assert confounded == ("2 of 3 pairs in the published order. What does not hold: wo ψ, G, Δ better than wo ψ, G.")


def test_a_figure_that_could_not_be_measured_has_no_place_in_the_order():
    measured = [Figures(percent_of_crop=9.0), Figures(), Figures(percent_of_crop=7.0), Figures(percent_of_crop=5.0)]
    text = beside_published(TABLE_5, measured)
    assert "| wo structure prior \\* | - | 20.06 |" in text
    assert "1 of 1 pairs in the published order. By the caveat below no proof either way: 2 of 2 pairs" in text
    with pytest.raises(ValueError, match=r"^measured: expected one per row \(4\), got 1$"):
        beside_published(TABLE_5, measured[:1])


def test_rows_with_the_same_caveat_share_it():
    assert [marked(row).endswith(" \\*") for row in FIG_4] == [True, True, False]
    (caveat,) = caveats(FIG_4)
    assert "(without cascade training; cascade training without the teacher): also without the teacher" in caveat
