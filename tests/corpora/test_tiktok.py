from __future__ import annotations

import numpy as np
import pytest
from tiktok_files import HEIGHT, NUM_FRAMES, SEQUENCES, WIDTH, seen, write_release

from mas_ray.config.ingest import DecodeLimits
from mas_ray.corpora.tiktok import PAPER_SEQUENCES, sources
from mas_ray.ingest.decode import open_clip


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    return write_release(tmp_path_factory.mktemp("tiktok"))


def test_every_sequence_is_a_take_of_a_person_of_its_own(release):
    takes = list(sources(release))
    assert [take.take_id for take in takes] == list(SEQUENCES)
    assert {(take.subject, take.action, take.reference) for take in takes} == {(s, s, None) for s in SEQUENCES}
    assert all(take.clips[0].calibration is None and take.skip_ends == 20 for take in takes)


def test_pictures_and_masks_are_read_frame_by_frame(release):
    (take, *_) = sources(release)
    with open_clip(take.clips[0], DecodeLimits()) as source:
        info = source.info
        assert (info.width_px, info.height_px, info.num_frames, info.frames_per_s) == (WIDTH, HEIGHT, NUM_FRAMES, 30)
        mask_of = source.masks([0, 7, 47])
        for frame, image in source.frames([0, 7, 47]):
            expected_image, expected_mask = seen(frame, turn=0)
            np.testing.assert_array_equal(image, expected_image)
            mask = mask_of(frame)
            assert mask is not None
            assert (mask & expected_mask).sum() / (mask | expected_mask).sum() > 0.97


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(ValueError, match="no sequence of the TikTok dataset"):
        sources(tmp_path)
    root = write_release(tmp_path, sequences=("00034", "00035"))
    (root / "00035" / "masks").rename(root / "00035" / "mask")
    with pytest.raises(ValueError, match=r"^not where the release has them: .*00035/masks$"):
        sources(root)


def test_a_release_without_masks_has_none(tmp_path):
    (take,) = sources(write_release(tmp_path, sequences=("00326",), masks=False))
    assert take.clips[0].masks is None


def test_the_paper_s_sequences_are_forty_two():
    assert len(set(PAPER_SEQUENCES)) == 42
    assert list(PAPER_SEQUENCES) == sorted(PAPER_SEQUENCES)
