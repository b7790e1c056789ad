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
    over_epochs = plot_intermediate_values(study).update_layout(xaxis_title="epochs", yaxis_title="score")
    plots = [("The score over the epochs", over_epochs)]
    if any(trial.value is not None for trial in study.trials):
        plots = [
            ("The fields together", plot_parallel_coordinate(study, target_name="score")),
            ("Each field alone", plot_slice(study, target_name="score")),
            *plots,
        ]
    parts: list[str] = []
    for index, (title, plot) in enumerate(plots):
        drawn = plot.update_layout(title=None).to_html(full_html=False, include_plotlyjs=index == 0)
        parts.append(f'<h2>{title}</h2>\n<div style="overflow-x: auto">{drawn}</div>')
    return _PAGE.format(title=html.escape(f"Sweep {name}"), plots="\n".join(parts))
