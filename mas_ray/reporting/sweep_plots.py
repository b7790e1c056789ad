"""The plots of a sweep as one HTML file that needs no network: Optuna's, drawn by Plotly."""

from __future__ import annotations

import html

import optuna
from optuna.visualization import plot_intermediate_values, plot_parallel_coordinate, plot_slice

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>body {{ font: 16px/1.5 system-ui, sans-serif; margin: 1.5rem auto; max-width: 80rem; padding: 0 1rem; }}</style>
</head><body>
<h1>{title}</h1>
<p>Score: the weighted yardstick on held-out frame sets; lower is better. Every line and dot is a trial. Plots of whole
trials leave out those that were stopped early or failed.</p>
{plots}
</body></html>
"""


def sweep_html(name: str, study: optuna.Study) -> str:
    """Parallel coordinates, a slice per field, and the score over the epochs."""
    finished = [trial for trial in study.trials if trial.value is not None]
    figures = [
        *([plot_parallel_coordinate(study, target_name="score")] if finished else []),
        *([plot_slice(study, target_name="score")] if finished else []),
        plot_intermediate_values(study),
    ]
    titles = (["The fields together", "Each field alone"] if finished else []) + ["The score over the epochs"]
    plots: list[str] = []
    for index, (title, drawn) in enumerate(zip(titles, figures, strict=True)):
        drawn.update_layout(title=None)
        script = index == 0  # Plotly itself, once
        plots.append(f"<h2>{title}</h2>\n{drawn.to_html(full_html=False, include_plotlyjs=script)}")
    return _PAGE.format(title=html.escape(f"Sweep {name}"), plots="\n".join(plots))
