"""The report: plain data in, one self-contained HTML page out. It reads no dataset, checkpoint or network."""

from __future__ import annotations

import json
from importlib import resources
from string import Template

from mas_ray.config import codec
from mas_ray.reporting import sections
from mas_ray.reporting.data import ReportData
from mas_ray.reporting.elements import escape
from mas_ray.reporting.evaluation_sections import evaluation
from mas_ray.reporting.viewer import viewer_data


def render_report(data: ReportData) -> str:
    """The page as HTML text; style, script, pictures and poses are inside."""
    folder = resources.files("mas_ray.reporting")
    template = Template((folder / "report.html").read_text(encoding="utf-8"))
    return template.substitute(
        style=(folder / "report.css").read_text(encoding="utf-8"),
        title=escape(f"{data.job.name} · {data.manifest.corpus}"),
        run=escape(data.job.name),
        corpus=escape(data.manifest.corpus),
        code_version=escape(data.manifest.code_version),
        summary=sections.summary(data),
        videos=sections.videos(data.videos),
        poses=sections.poses(data.sequences, data.evaluation),
        gallery=sections.gallery(data.gallery),
        training=sections.training(data.stages),
        evaluation=evaluation(data.evaluation),
        dataset=sections.dataset(data.manifest),
        job=escape(codec.dumps(data.job)),
        viewer_data=_json_in_script(viewer_data(data.sequences, data.skeleton)),
        viewer_script=(folder / "viewer.js").read_text(encoding="utf-8"),
    )


def _json_in_script(value: object) -> str:
    """JSON that cannot end the script element it stands in."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
