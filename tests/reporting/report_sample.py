"""A small report's data, made up, with text in every place that would break out of HTML if it were not escaped."""

from __future__ import annotations

import cv2
import numpy as np

from mas_ray.config.cascade import cpu_cascade
from mas_ray.config.ingest import CropConfig, FrameSampling, MaskQualityConfig, NoSplit, SelfieMasks
from mas_ray.config.jobs import TrainJob
from mas_ray.evaluation.left_right import HANDLINGS
from mas_ray.evaluation.protocol import PROTOCOL
from mas_ray.evaluation.record import (
    FORMAT,
    Accuracy,
    Evaluation,
    EvaluationSource,
    GroupError,
    JointError,
    KeypointErrors,
    PoseErrors,
)
from mas_ray.geometry.chirality import KneeChirality
from mas_ray.reporting.data import GalleryFrame, GalleryView, ReportData, StageCurves, Video
from mas_ray.reporting.viewer import PoseSequence
from mas_ray.shards import manifest as dataset
from mas_ray.skeleton import H36M_18

HOSTILE = "</script><script>document.title='broken'</script><img src=x onerror=alert(1)>\"'&"


def sample_report_data() -> ReportData:
    return ReportData(
        job=TrainJob(manifest="m.json", storage="runs", name=HOSTILE.replace("/", ""), cascade=cpu_cascade()),
        manifest=sample_manifest(),
        skeleton=H36M_18,
        stages=(
            StageCurves(
                name="torso",
                records=tuple(
                    {"stage": "torso", "epoch": n, "step": 10 * n, "loss/total": 5.0 / (n + 1), "loss/depth": np.nan}
                    for n in range(6)
                ),
            ),
            StageCurves(name=HOSTILE, records=()),
        ),
        gallery=(
            GalleryFrame(
                take_id="dance",
                instant=3,
                split="test",
                views=(GalleryView(view=HOSTILE, pictures={"prediction": _picture(), "person mask": _picture()}),),
            ),
        ),
        sequences=(sample_sequence("dance, beside the reference", with_reference=True), sample_sequence(HOSTILE)),
        videos=(Video(name=HOSTILE, href="predictions/overlays/dance%20%22-cam.mp4", poster=_picture()),),
        evaluation=sample_evaluation(),
    )


def sample_manifest() -> dataset.Manifest:
    everything = dataset.InstantRange(take_id="dance", start=0, stop=40)
    return dataset.Manifest(
        format=dataset.FORMAT,
        schema_version=1,
        code_version="0",
        corpus=HOSTILE,
        parameters=dataset.IngestParameters(
            masks=SelfieMasks(), mask_quality=MaskQualityConfig(), crop=CropConfig(), sampling=FrameSampling()
        ),
        split_config=NoSplit(),
        takes=(
            dataset.TakeEntry(
                take_id="dance", subject=HOSTILE, action="dance", views=("cam1", "cam2"), num_instants=40
            ),
        ),
        shards=(),
        splits=dataset.Splits(train=(everything,), validation=(), test=()),
        rejects=(dataset.RejectCount(reason="no_person", level="view", count=1234),),
    )


def sample_sequence(name: str, *, with_reference: bool = False) -> PoseSequence:
    """Random figures of eight frames, the last without a pose."""
    poses = np.random.default_rng(0).normal(0, 300, (8, 18, 3))
    reference = poses + 20
    poses[-1] = np.nan
    reference[0, 4] = np.nan
    return PoseSequence(
        name=name,
        frames_per_s=20.0,
        instants=tuple(range(100, 108)),
        splits=("test",) * 8,
        predicted_mm=poses,
        reference_mm=reference if with_reference else None,
        upwards=np.array([0.1, -0.1, 0.9]),
    )


def sample_evaluation(chirality_mm: float = 12.0) -> Evaluation:
    errors = PoseErrors(
        mpjpe_mm=91.23, n_mpjpe_mm=88.0, p_mpjpe_mm=70.0, pck_150_percent=80.0, auc_150_percent=40.0, num_poses=8
    )
    return Evaluation(
        format=FORMAT,
        protocol=PROTOCOL,
        source=EvaluationSource(
            checkpoint="runs/<checkpoint>",
            corpus="studio",
            split="test",
            reference="triangulated OpenPose",
            num_frame_sets=8,
            num_without_reference=2,
            takes=("dance",),
            takes_also_trained_on=("dance",),
            faults=(),
        ),
        ambiguity_ratio=0.203,
        knee_chirality=KneeChirality(mean_mm=chirality_mm, standard_error_mm=1.5, num_poses=8),
        knee_chirality_of_takes=None,
        accuracy_without_faults=(),
        paper=None,
        accuracy=tuple(
            Accuracy(
                handling=handling,
                exchanged_fraction=0.0,
                triangulated=errors,
                monocular=None,
                keypoints=KeypointErrors(percent_of_crop=3.63, px=9.1, num_views=16),
                groups=(GroupError(group="legs", triangulated_mm=61.0, monocular_mm=None, percent_of_crop=2.5),),
                joints=(JointError(joint="left_knee", triangulated_mm=50.0, monocular_mm=None, percent_of_crop=2.0),),
                actions=(),
            )
            for handling in HANDLINGS
        ),
    )


def _picture() -> bytes:
    return cv2.imencode(".jpg", np.full((32, 32, 3), 120, np.uint8))[1].tobytes()
