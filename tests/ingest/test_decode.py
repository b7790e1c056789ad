import struct
import zlib

import cv2
import h5py
import numpy as np
import pytest
from moving_square import HEIGHT, WIDTH, figure_mask, picture, write_video

from mas_ray.config.ingest import DecodeLimits
from mas_ray.corpora.take import Calibration, Clip
from mas_ray.ingest import decode
from mas_ray.ingest.decode import open_clip
from mas_ray.ingest.rejects import BadTakeError


def probe(clip):
    with open_clip(clip, DecodeLimits()) as source:
        return source.info


def read_frames(clip, numbers):
    with open_clip(clip, DecodeLimits()) as source:
        return list(source.frames(numbers))


def calibration(**changes):
    values = {
        "width_px": WIDTH,
        "height_px": HEIGHT,
        "K": np.array([[90.0, 0.0, 47.5], [0.0, 90.0, 35.5], [0.0, 0.0, 1.0]]),
        "distortion": np.zeros(4),
        "R": np.eye(3),
        "t_mm": np.zeros(3),
    }
    return Calibration(**{**values, **changes})


@pytest.fixture
def video(tmp_path):
    return write_video(tmp_path / "cam.mp4", [picture(i, 1) for i in range(24)])


def frame_number(image):
    """Read back the brightness of the figure."""
    return round((float(image[image > 75].mean()) - 100) / 5)


def test_info(video):
    info = probe(Clip(view="cam", video=str(video), calibration=calibration()))
    assert (info.width_px, info.height_px, info.frames_per_s, info.num_frames) == (WIDTH, HEIGHT, 25, 24)
    np.testing.assert_allclose(info.times_s, np.arange(24) / 25, atol=1e-9)


def test_frames_keep_their_numbers(video):
    wanted = [0, 1, 5, 13]
    found = dict(read_frames(Clip(view="cam", video=str(video)), wanted))
    assert [frame_number(found[i]) for i in wanted] == wanted
    assert np.abs(found[5].astype(int) - picture(5, 1)).mean() < 3


def test_size_mismatch_names_video_and_both_sizes(video):
    clip = Clip(view="cam", video=str(video), calibration=calibration(width_px=640))
    with pytest.raises(
        BadTakeError, match=r"cam\.mp4: the video is 96x72 px, its calibration is of 640x72 px"
    ) as error:
        probe(clip)
    assert error.value.reason == "mismatched_size"
    assert "\n" not in str(error.value)


def test_not_a_video(tmp_path):
    (tmp_path / "text.mp4").write_text("not a video")
    for path in (tmp_path / "text.mp4", tmp_path / "missing.mp4"):
        clip = Clip(view="cam", video=str(path))
        with pytest.raises(BadTakeError, match="not a readable video"):
            probe(clip)


def test_damage_leaves_holes_up_to_the_next_key_frame(video, tmp_path):
    data = bytearray(video.read_bytes())
    middle = data.index(b"mdat") + (len(data) - data.index(b"mdat")) // 2
    data[middle : middle + 60] = np.random.default_rng(0).integers(0, 256, 60, np.uint8).tobytes()
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(data)
    found = dict(read_frames(Clip(view="cam", video=str(damaged)), range(24)))
    holes = [i for i, image in found.items() if image is None]
    assert 1 <= len(holes) <= 12
    assert holes == list(range(holes[0], holes[-1] + 1))
    assert all(frame_number(image) == i for i, image in found.items() if image is not None)


def test_truncated_video_gives_what_decodes(video, tmp_path):
    truncated = tmp_path / "truncated.mp4"
    data = video.read_bytes()
    truncated.write_bytes(data[: (data.index(b"mdat") + len(data)) // 2])
    clip = Clip(view="cam", video=str(truncated))
    assert probe(clip).num_frames == 24  # as its header says
    found = dict(read_frames(clip, range(24)))
    assert found[0] is not None
    assert found[23] is None
    assert all(frame_number(image) == i for i, image in found.items() if image is not None)


def test_rotation_is_applied(video, tmp_path):
    data = bytearray(video.read_bytes())
    matrix = data.index(b"tkhd") + 44
    data[matrix : matrix + 36] = struct.pack(">9i", 0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)  # a quarter clockwise
    rotated = tmp_path / "rotated.mp4"
    rotated.write_bytes(data)
    clip = Clip(view="cam", video=str(rotated))
    info = probe(clip)
    assert (info.width_px, info.height_px) == (HEIGHT, WIDTH)
    ((_, upright),) = read_frames(clip, [2])
    ((_, plain),) = read_frames(Clip(view="cam", video=str(video)), [2])
    np.testing.assert_array_equal(upright, cv2.rotate(plain, cv2.ROTATE_90_CLOCKWISE))


def test_undistorted_pixels_lie_where_the_pinhole_says(tmp_path):
    distortion = np.array([-0.3, 0.05, 0.001, -0.002])
    K = calibration().K
    point = np.array([[0.35, -0.2, 1.0]])  # in front of the camera
    distorted = cv2.projectPoints(point, np.zeros(3), np.zeros(3), K, distortion)[0].ravel()
    pinhole = (K @ point[0])[:2]
    assert np.linalg.norm(distorted - pinhole) > 1.5
    yy, xx = np.mgrid[:HEIGHT, :WIDTH]
    blob = 255 * np.exp(-((xx - distorted[0]) ** 2 + (yy - distorted[1]) ** 2) / 8)
    image = np.repeat(blob[..., None], 3, axis=2).astype(np.uint8)
    video = write_video(tmp_path / "cam.mp4", [image, image])
    masks = write_video(tmp_path / "masks.mp4", [image, image])
    clip = Clip(view="cam", video=str(video), masks=str(masks), calibration=calibration(distortion=distortion))
    ((_, undistorted),) = read_frames(clip, [1])
    weight = undistorted[..., 0].astype(float) * (undistorted[..., 0] > 60)
    centroid = np.array([(xx * weight).sum(), (yy * weight).sum()]) / weight.sum()
    assert np.linalg.norm(centroid - pinhole) < 0.15
    with open_clip(clip, DecodeLimits()) as source:
        mask = source.masks([1])(1)
    assert mask is not None
    centre = np.argwhere(mask).mean(axis=0)[::-1]
    assert np.linalg.norm(centre - pinhole) < 0.5


def test_samples_are_spread_and_skip_what_is_missing(video):
    with open_clip(Clip(view="cam", video=str(video)), DecodeLimits()) as source:
        assert [frame_number(image) for image in source.sample(3, frames=range(21))] == [0, 10, 20]
        assert len(source.sample(5, frames=[1, 2, 99])) == 2


def test_shots_are_sampled_and_read_without_decoding_anew(video, tmp_path, monkeypatch):
    masks = write_video(
        tmp_path / "masks.mp4", [np.repeat(figure_mask(i, 1)[..., None] * np.uint8(255), 3, axis=2) for i in range(24)]
    )
    clip = Clip(view="cam", video=str(video), masks=str(masks))
    opened, begun = [], []

    class Counted(decode.DecoderProcess):
        def __init__(self, path, limits, **more):
            opened.append(path)
            super().__init__(path, limits, **more)

        def _send(self, **message):
            begun.extend([message["do"]] if message["do"] == "frames" else [])
            super()._send(**message)

    monkeypatch.setattr(decode, "DecoderProcess", Counted)
    with open_clip(clip, DecodeLimits()) as source:
        for start in range(0, 24, 4):
            shot = range(start, start + 4)
            assert [frame_number(image) for image in source.sample(2, frames=shot)] == [start, start + 3]
            mask_of = source.masks(shot)
            for number, image in source.frames(shot):
                assert frame_number(image) == number
                np.testing.assert_array_equal(mask_of(number), figure_mask(number, 1))
    assert sorted(opened) == [str(video), str(video), str(masks)]
    assert len(begun) == 4  # the first shot's samples, all frames, the other samples, all masks


def test_small_frames_are_those_of_the_clip(video):
    clip = Clip(view="cam", video=str(video), calibration=calibration(distortion=np.array([-0.3, 0.05, 0.0, 0.0])))
    with open_clip(clip, DecodeLimits()) as source:
        small = dict(source.small_frames([0, 7, 99], size_px=36))
    assert small[99] is None
    expected = cv2.resize(picture(7, 1), (48, 36), interpolation=cv2.INTER_AREA)
    assert np.abs(small[7].astype(int) - expected).mean() < 2
    assert np.abs(small[0].astype(int) - expected).mean() > 5


def test_provided_masks_from_video_and_folder(video, tmp_path):
    grey = [np.repeat(figure_mask(i, 1)[..., None] * np.uint8(255), 3, axis=2) for i in range(4)]
    folder = tmp_path / "masks"
    folder.mkdir()
    for i in (0, 2):
        cv2.imwrite(str(folder / f"{i:06d}.png"), grey[i])
    for masks in (write_video(tmp_path / "masks.mp4", grey), folder):
        with open_clip(Clip(view="cam", video=str(video), masks=str(masks)), DecodeLimits()) as source:
            frames = source.frames([0, 2, 3, 9])
            mask_of = source.masks([0, 2, 3, 9])
            for number, image in frames:  # side by side, as ingest reads them
                assert frame_number(image) == number
                mask = mask_of(number)
                if number in (0, 2):
                    np.testing.assert_array_equal(mask, figure_mask(number, 1))
                else:
                    assert (mask is None) == (number == 9 or masks == folder)


def test_provided_masks_of_human36m(video, tmp_path):
    masks = np.random.default_rng(0).random((3, HEIGHT, WIDTH)) > 0.5
    with h5py.File(tmp_path / "cam.mat", "w") as file:
        references = np.empty((3, 1), h5py.ref_dtype)
        for number, mask in enumerate(masks):
            references[number, 0] = file.create_dataset(f"{number}", data=mask.T.astype(np.uint8)).ref
        file.create_dataset("Masks", data=references, dtype=h5py.ref_dtype)
    clip = Clip(view="cam", video=str(video), masks=str(tmp_path / "cam.mat"))
    with open_clip(clip, DecodeLimits()) as source:
        mask_of = source.masks([1, 2, 5])
        np.testing.assert_array_equal(mask_of(1), masks[1])
        np.testing.assert_array_equal(mask_of(2), masks[2])
        assert mask_of(5) is None


def test_masks_and_background_of_another_size(video, tmp_path):
    path = tmp_path / "000000.png"
    cv2.imwrite(str(path), np.zeros((10, 10), np.uint8))
    clip = Clip(view="cam", video=str(video), masks=str(tmp_path), background=str(path))
    with open_clip(clip, DecodeLimits()) as source:
        with pytest.raises(BadTakeError, match="frame 0 is 10x10 px, the video 96x72 px"):
            source.masks([0])(0)
        with pytest.raises(BadTakeError, match="the picture is 10x10 px, the video 96x72 px"):
            source.background()
    with open_clip(Clip(view="cam", video=str(video)), DecodeLimits()) as source:
        with pytest.raises(BadTakeError, match="provides no masks"):
            source.masks([0])
        assert source.background() is None


def test_a_picture_that_claims_more_than_there_is_memory_does_not_decode(video, tmp_path):
    path = tmp_path / "000000.png"
    cv2.imwrite(str(path), np.zeros((10, 10), np.uint8))
    header = b"IHDR" + struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
    data = bytearray(path.read_bytes())
    data[12:33] = header + struct.pack(">I", zlib.crc32(header))
    path.write_bytes(data)
    clip = Clip(view="cam", video=str(video), masks=str(tmp_path), background=str(path))
    with open_clip(clip, DecodeLimits()) as source:
        assert source.masks([0])(0) is None
        with pytest.raises(BadTakeError, match="not a readable picture"):
            source.background()
