"""The measurement of one trained recipe: predictions against reference joints, and the reconstruction loss.

Finished rows are records in a folder, and never measured again.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mas_ray.config import codec
from mas_ray.config.cascade import CascadeConfig
from mas_ray.config.published import AblationRow
from mas_ray.evaluation.protocol import evaluate_comparison
from mas_ray.evaluation.record import SupervisedErrors
from mas_ray.evaluation.supervised_postprocess import ALPHAS, supervised_errors
from mas_ray.inference import FrameSetEstimator
from mas_ray.pipelines.ablation_training import KeyedDataset, reconstruction
from mas_ray.pipelines.evaluate_split import SplitComparison, compare_with_reference
from mas_ray.pipelines.progress import note
from mas_ray.reporting.measured_row import MeasuredRow
from mas_ray.shards.manifest import SplitName, file_sha256
from mas_ray.shards.write import write_text
from mas_ray.skeleton import H36M_18
from mas_ray.training.state import Networks

SPLIT: SplitName = "test"
"""What is measured."""


def reference_digests(folder: Path) -> str:
    """Of all reference joints in a folder: each file's name and digest; ``ValueError`` if there is no such folder."""
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder of reference joints")
    return "".join(f"{path.name} {file_sha256(path)}\n" for path in sorted(folder.glob("*.parquet")))


def recorded(path: Path, title: str, measure: Callable[[], MeasuredRow]) -> MeasuredRow:
    """A finished row as its record has it, or else measured, and recorded for the next time."""
    if path.is_file():
        note(f"{title}: finished before")
        return codec.loads(MeasuredRow, path.read_text(), str(path))
    row = measure()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, codec.dumps(row))
    return row


def measure_row(
    row: AblationRow,
    networks: Networks,
    cascade: CascadeConfig,
    *,
    dataset: KeyedDataset,
    annotations: Path,
    source: str,
    title: str,
) -> MeasuredRow:
    """Measure the networks that the last stage of a row's recipe has left.

    Args:
        row: The row; one with SPP is fitted to the labels of the training split.
        networks: As trained; the names of left and right are as the networks have them.
        cascade: The row's recipe.
        dataset: Whose test split is measured.
        annotations: Folder of reference joints, as ingest wrote it.
        source: What to call the networks in the record.
        title: What to call the row on the terminal.

    Raises:
        ValueError: The dataset or the annotations are not as they need to be; the message names the file.
    """
    estimator = FrameSetEstimator(
        networks.detector, networks.shape_prior, stage=cascade.stages[-1], cascade=cascade, skeleton=H36M_18
    )

    def compare(split: SplitName) -> SplitComparison:
        return compare_with_reference(
            estimator, name=source, manifest=dataset.path, annotations=annotations, split=split
        )

    found = compare(SPLIT)
    supervised: tuple[SupervisedErrors, ...] = ()
    if row.supervised_postprocess:
        note(f"{title}: maps are fitted to the labels of the training split")
        train = compare("train")
        supervised = tuple(
            supervised_errors(
                train.comparison, found.comparison, H36M_18, train_subjects=train.subjects, regressor=regressor
            )
            for regressor in ALPHAS
        )
    return MeasuredRow(
        name=row.name,
        reconstruction=reconstruction(networks, cascade, dataset.open(SPLIT, cascade)),
        evaluation=evaluate_comparison(
            found.comparison, H36M_18, source=found.source, takes=found.takes, actions=found.actions
        ),
        supervised=supervised,
    )
