"""The model card: what a checkpoint's own record says of it, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from mas_ray.checkpoint import Progress
from mas_ray.config.jobs import TrainJob
from mas_ray.evaluation.record import Evaluation
from mas_ray.reporting.markdown import figure, table
from mas_ray.reporting.summary_columns import HANDLING_NAMES

_RUN = """\
import numpy as np, onnxruntime

session = onnxruntime.InferenceSession("model.onnx")
image = np.zeros((1, 3, {size}, {size}), np.float32)  # an RGB crop around one person, 0 to 1
keypoints_ndc, depth_mm, confidence = session.run(None, {{"image": image}})
keypoints_px = ((keypoints_ndc + 1) * {size} - 1) / 2
"""


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """What the card is made of."""

    name: str
    """Of the checkpoint."""
    job: TrainJob
    progress: Progress
    num_parameters: int
    checked_on: str
    """Corpus whose pictures the export was checked on."""
    largest_difference: float
    """Of the exported files from our own networks there."""
    evaluation: Evaluation | None


def model_card(card: ModelCard) -> str:
    """The card as Markdown."""
    detector = card.job.cascade.detector
    background = (
        "The person's mask must be applied before: whatever is not the person is black."
        if detector.background == "removed"
        else "The background stays in the picture."
    )
    facts = [
        ("", ""),
        ("what", f"18 keypoints and their depths in a {detector.input_size} px crop around one person; "
                 f"{detector.backbone}, {card.num_parameters / 1e6:.2f} M parameters"),
        ("checkpoint", f"`{card.name}`: stage {card.progress.stage + 1} of {len(card.job.cascade.stages)} "
                       f"({card.progress.stage_name}), after {card.progress.num_epochs} epochs of it"),
        ("trained on", f"`{card.job.manifest}`" + (
            f" and single views of `{card.job.single_view_manifest}`" if card.job.single_view_manifest else "")),
        ("started from", f"`{card.job.initial}`" if card.job.initial else "random weights"),
        ("labels", "none: masks and, where there were any, camera calibrations"),
        ("chosen by", f"held-out mask reconstruction, {card.progress.validation_reconstruction:.4f}"),
        ("export", f"differs from our own networks by {card.largest_difference:.1e} at most "
                   f"(NDC, shares of the depth range), on pictures of {card.checked_on}"),
    ]  # fmt: skip
    return "\n".join(
        [
            f"# {card.job.name}",
            "",
            "| | |\n| --- | --- |\n" + "\n".join(f"| {name} | {value} |" for name, value in facts[1:]),
            "",
            "## Without labels",
            "",
            "Reference joints lie outside every dataset, and import contracts keep all code that trains or makes "
            "masks away from the code that reads them; the project's CI checks them, and breaks them on purpose to see "
            "that it would be caught. The complete recipe is the checkpoint's `job.json`.",
            "",
            "## Figures",
            "",
            *_figures(card.evaluation),
            "",
            "## Use",
            "",
            f"```python\n{_RUN.format(size=detector.input_size)}```",
            "",
            f"{background} Joints, shapes and units are in `model.json` and in the file's metadata. Crops are squares, "
            "1.2 times the longer side of the mask's box.",
            "",
            "## Limits",
            "",
            "- It knows the kind of people, clothes and cameras that it was trained on; on others it was not measured.",
            "- Masks do not tell left from right: one global choice was made by which way the knees bend.",
            "- A single picture knows no scale; depths are those of the people that it was trained on.",
            "- Not for decisions about people.",
            "",
            "## Licence",
            "",
            "The code is Apache-2.0. Weights may be used as the data that they were learnt from allows.",
            "",
        ]
    )


def _figures(evaluation: Evaluation | None) -> list[str]:
    if evaluation is None:
        return ["None were given: this card makes no claim of accuracy."]
    source = evaluation.source
    rows = [("left and right", "MPJPE mm", "P-MPJPE mm", "one view: MPJPE mm", "P-MPJPE mm", "2D, % of the crop")]
    for accuracy in evaluation.accuracy:
        triangulated, monocular, keypoints = accuracy.triangulated, accuracy.monocular, accuracy.keypoints
        rows.append(
            (
                HANDLING_NAMES[accuracy.handling],
                figure(triangulated and triangulated.mpjpe_mm, 1),
                figure(triangulated and triangulated.p_mpjpe_mm, 1),
                figure(monocular and monocular.mpjpe_mm, 1),
                figure(monocular and monocular.p_mpjpe_mm, 1),
                figure(keypoints and keypoints.percent_of_crop, 2),
            )
        )
    seen = " Training saw other frames of the same clips." if source.takes_also_trained_on else ""
    return [
        f"{source.num_frame_sets} frame sets of the {source.split} split of {source.corpus}, against: "
        f"{source.reference}.{seen} Of `{source.checkpoint}`.",
        "",
        table(rows),
        "",
        evaluation.protocol,
    ]
