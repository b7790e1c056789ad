"""A training run on the terminal: its stages, what came of it, and the commands to go on with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mas_ray.cli.text_table import text_table

if TYPE_CHECKING:
    from mas_ray.pipelines.show_run import RunSummary, StageRow

_HEADINGS = ("stage", "state", "loss", "held-out", "best", "images/s", "data wait", "repeated")


def print_run(summary: RunSummary) -> None:
    """Print the summary of a run."""
    print(f"run         {summary.run}" + ("  (training now)" if summary.training_now else ""))
    print(text_table([list(_HEADINGS), *(_cells(stage) for stage in summary.stages)]))
    for stage in summary.stages:
        if stage.checkpoint is not None:
            print(f"chosen      {stage.checkpoint}")
    if summary.model is not None:
        print(f"registered  {summary.model}")
    lacks = "" if summary.tracked or summary.checkpoint is None else "  (does not have all of the run yet)"
    print(f"MLflow      {summary.tracking_uri}{lacks}")
    for number, command in enumerate(summary.next):
        print(f"{'' if number else 'next':<11} {command}")


def _cells(stage: StageRow) -> list[str]:
    state = f"epoch {stage.num_epochs} of {stage.of_epochs}" if stage.state == "begun" else stage.state
    wait = None if stage.data_wait_share is None else 100 * stage.data_wait_share
    return [
        stage.stage,
        state,
        *(_figure(value) for value in (stage.loss, stage.reconstruction, stage.best_reconstruction)),
        _figure(stage.images_per_s),
        "-" if wait is None else f"{wait:.1f} %",
        f"{stage.repeated_epochs}" if stage.repeated_epochs else "-",
    ]


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
