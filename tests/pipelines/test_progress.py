import pytest

from mas_ray.pipelines import progress as module
from mas_ray.pipelines.progress import note, progress


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now_s = 100.0

    monkeypatch.setattr(module.time, "monotonic", lambda: Clock.now_s)
    return Clock


def test_piped_progress_is_a_line_now_and_then(clock, capsys):
    with progress("ingest", 100, "instants") as advance:
        for _ in range(10):
            clock.now_s += 1
            advance(5, takes="1/2", loss=0.123456)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "ingest: 25 of 100 instants, 5/s, 15 s left, takes 1/2, loss 0.1235",
        "ingest: 50 of 100 instants, 5/s, 10 s left, takes 1/2, loss 0.1235",
    ]


def test_what_is_left_shrinks_while_a_unit_takes_its_time(clock, capsys):
    with progress("ingest", 4, "takes") as advance:
        clock.now_s += 10
        advance(1)
        for _ in range(4):
            clock.now_s += 6
            advance(0, instants="3 of 9")
    left = [line.split(", ")[2] for line in capsys.readouterr().err.splitlines()]
    assert left == ["30 s left", "24 s left", "18 s left", "12 s left", "6 s left"]


def test_unknown_total_and_figures_stay_until_the_next(clock, capsys):
    with progress("train", 0, "steps") as advance:
        advance(1, loss=2)
        clock.now_s += 6
        advance(2)
    assert capsys.readouterr().err.splitlines()[0] == "train: 3 steps, 0.5/s, loss 2"


def test_a_failure_passes_through(capsys):
    with pytest.raises(ValueError, match="inside"), progress("train", 3, "steps"):
        raise ValueError("inside")


def test_terminal_gets_a_bar(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "160")
    with progress("ingest", 4, "instants") as advance:
        advance(3, takes="1/2")
        advance(1)
    shown = capsys.readouterr().err
    assert "4/4" in shown
    assert "takes 1/2" in shown
    assert "\x1b[" in shown


def test_note(capsys):
    note("[all] is well " + "x" * 200)
    assert capsys.readouterr().err == "[all] is well " + "x" * 200 + "\n"
