"""Takes that are dealt to Ray workers: the same evaluation, and the same poses, to the last digit."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fresh_checkpoint import save_fresh

from mas_ray.config.jobs import EvaluateJob, PredictJob, Workers
from mas_ray.pipelines import session
from mas_ray.pipelines.evaluate import evaluate
from mas_ray.pipelines.predict import predict

pytestmark = [pytest.mark.slow, pytest.mark.ray]


def test_one_process_two_workers_and_three_give_the_same_files(tiny_dataset, tmp_path):
    in_process = EvaluateJob(
        checkpoint=str(save_fresh(tmp_path / "checkpoint", seed=0)),
        manifest=str(tiny_dataset.manifest),
        annotations=str(tiny_dataset.annotations),
        output=str(tmp_path / "0"),
        split="train",
    )
    evaluate(in_process)
    with session.connect(num_cpus=3):
        for num in (2, 3):
            evaluate(replace(in_process, workers=Workers(num=num, cpus_each=0.5), output=str(tmp_path / str(num))))
        predictions = PredictJob(
            checkpoint=in_process.checkpoint, manifest=in_process.manifest, output=str(tmp_path / "poses")
        )
        predict(predictions)
        alone = (tmp_path / "poses" / "poses.parquet").read_bytes()
        predict(replace(predictions, workers=Workers(num=2, cpus_each=0.5)))
        assert (tmp_path / "poses" / "poses.parquet").read_bytes() == alone
        with pytest.raises(ValueError, match=r"^workers: .*evaluate"):
            evaluate(replace(in_process, workers=Workers(num=4), output=str(tmp_path / "4")))
    for name in ("evaluation.json", "compared.parquet"):
        expected = (tmp_path / "0" / name).read_bytes()
        assert (tmp_path / "2" / name).read_bytes() == expected
        assert (tmp_path / "3" / name).read_bytes() == expected
