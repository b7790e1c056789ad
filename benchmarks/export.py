"""The exported detector: ONNX Runtime and torch.compile against eager torch, on one core.

    python benchmarks/export.py

The CPU preset's detector, and the paper's at the width that a laptop bears, on pictures of noise: how long a network
takes does not depend on them. ONNX Runtime's figures are those of the file that ``mas-ray export`` would write.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import onnxruntime
import torch
from measure import interleaved_cpu_seconds

from mas_ray.config.cascade import CascadeConfig, cpu_cascade, paper_cascade
from mas_ray.inference import FrameSetEstimator
from mas_ray.pipelines.export import write_onnx
from mas_ray.skeleton import H36M_18
from mas_ray.training.state import create_state

_BATCH = 16
_REPETITIONS = 9


def main() -> None:
    """Measure and print."""
    paper = paper_cascade()
    small_paper = replace(paper, detector=replace(paper.detector, input_size=128, heatmap_size=32))
    for name, cascade in (("CPU preset", cpu_cascade()), ("paper's, 128 px", small_paper)):
        seconds = _seconds(cascade)
        eager = seconds["eager"]
        ratios = ", ".join(f"{variant} {value / eager:.2f}" for variant, value in seconds.items())
        print(f"{name}: {ratios} of eager's time; eager {_BATCH / eager:.1f} pictures/s on one core")


def _seconds(cascade: CascadeConfig) -> dict[str, float]:
    state = create_state(cascade, H36M_18, torch.device("cpu"))
    estimator = FrameSetEstimator(
        state.detector, state.shape_prior, stage=cascade.stages[-1], cascade=cascade, skeleton=H36M_18
    )
    detector = estimator.picture_detector()
    size = cascade.detector.input_size
    pictures = torch.rand(_BATCH, 3, size, size)
    compiled = torch.compile(detector)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        path = Path(folder) / "model.onnx"
        with torch.inference_mode(mode=False):
            program = torch.export.export(
                detector, (pictures.clone(),), dynamic_shapes={"image": {0: torch.export.Dim("pictures", min=1)}}
            )
            write_onnx(program, path, {})
        session = onnxruntime.InferenceSession(str(path), options)
        image = pictures.numpy()
        return interleaved_cpu_seconds(
            {
                "eager": lambda: detector(pictures),
                "compiled": lambda: compiled(pictures),
                "ONNX Runtime": lambda: session.run(None, {"image": image}),
            },
            repetitions=_REPETITIONS,
        )


if __name__ == "__main__":
    main()
