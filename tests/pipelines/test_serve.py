"""The HTTP service: answers, refusals, and more requests than it can bear."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from fresh_checkpoint import save_fresh
from moving_square import picture, write_video

from mas_ray.config.ingest import MotionMasks
from mas_ray.config.jobs import ServeJob, UploadLimits
from mas_ray.pipelines.pose_estimator import PoseEstimator
from mas_ray.pipelines.serve import serving

NUM_FRAMES = 12


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def ask(url: str, data: bytes | None = None, kind: str = "video/mp4") -> tuple[int, dict]:
    request = urllib.request.Request(url, data=data, headers={"Content-Type": kind} if data is not None else {})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        text = error.read().decode()
        return error.code, json.loads(text) if text.startswith("{") else {"detail": text}


@pytest.mark.slow
@pytest.mark.ray
def test_the_service_answers_refuses_and_bears_too_much(tmp_path):
    frames = [picture(n, 1) for n in range(NUM_FRAMES)]
    clip = write_video(tmp_path / "a.mp4", frames).read_bytes()
    checkpoint = str(save_fresh(tmp_path / "checkpoint", seed=0))
    job = ServeJob(
        checkpoint=checkpoint,
        port=free_port(),
        masks=MotionMasks(),
        limits=UploadLimits(max_mb=0.5, max_clip_frames=50),
        max_ongoing=2,
        max_queued=2,
    )
    with serving(job) as address:
        poses = f"{address}/v1/poses"
        assert ask(f"{address}/v1/model")[1]["checkpoint"] == checkpoint

        status, answer = ask(poses, clip)
        assert status == 200
        assert len(answer["frames"]) == NUM_FRAMES
        people = [frame["person"] for frame in answer["frames"] if frame["person"]]
        assert len(people) > NUM_FRAMES / 2
        left, top, width, height = people[0]["box_px"]
        assert (width, height) == pytest.approx((16, 40), abs=6)
        alone = PoseEstimator.load(checkpoint)
        assert tuple(answer["joints"]) == alone.joints
        assert len(people[0]["keypoints_px"]) == len(people[0]["confidence"]) == 18
        assert all(left - 30 < x < left + width + 30 for x, _ in people[0]["keypoints_px"])
        assert all(top - 30 < y < top + height + 30 for _, y in people[0]["keypoints_px"])

        for data, kind, expected, detail in (
            (b"no clip", "video/mp4", 400, "unreadable_video"),
            (b"no picture", "image/jpeg", 400, "expected a picture"),
            (b"{}", "application/json", 415, "expected one of image/jpeg"),
            (bytes(600_000), "image/jpeg", 413, "more than 0.5 MB"),
            (write_video(tmp_path / "b.mp4", 5 * frames).read_bytes(), "video/mp4", 413, "too_long"),
        ):
            status, answer = ask(poses, data, kind)
            assert (status, detail in answer["detail"]) == (expected, True), answer

        described = ask(f"{address}/openapi.json")[1]["paths"]["/v1/poses"]["post"]
        assert "video/mp4" in described["requestBody"]["content"]
        assert {"200", "400", "413", "415", "503"} <= set(described["responses"])

        with ThreadPoolExecutor(24) as clients:
            statuses = Counter(status for status, _ in clients.map(lambda _: ask(poses, clip), range(24)))
        assert set(statuses) == {200, 503}
        assert statuses[200] >= 4
        assert ask(poses, clip)[0] == 200

        with pytest.raises(ValueError, match=rf"cannot listen on 127\.0\.0\.1:{job.port}: "), serving(job):
            pass
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"{address}/v1/model", timeout=5)


@pytest.mark.parametrize(("port", "queued"), [(0, 4), (70_000, 4), (8000, 0)])
def test_jobs_that_make_no_sense(port, queued):
    with pytest.raises(ValueError, match="port: expected 1 to 65535" if queued else "max_queued: expected at least 1"):
        ServeJob(checkpoint="packaged", port=port, max_queued=queued)


def test_limits_are_positive():
    with pytest.raises(ValueError, match=r"max_mb: expected more than 0, got 0\.0"):
        UploadLimits(max_mb=0.0)


def test_a_checkpoint_that_is_not_there_is_said_before_anything_starts(tmp_path):
    with pytest.raises(ValueError, match="none"), serving(ServeJob(checkpoint=str(tmp_path / "none"))):
        pass
