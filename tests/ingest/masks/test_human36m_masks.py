import h5py
import numpy as np
import pytest

from mas_ray.ingest.masks.human36m import read_matlab_masks
from mas_ray.ingest.rejects import BadTakeError


def _write(path, masks):
    with h5py.File(path, "w") as file:
        references = np.empty((len(masks), 1), h5py.ref_dtype)
        for number, mask in enumerate(masks):
            references[number, 0] = file.create_dataset(f"#refs#/{number}", data=mask.T.astype(np.uint8)).ref
        file.create_dataset("Masks", data=references, dtype=h5py.ref_dtype)


def test_frames_are_upright_and_the_missing_last_one_is_none(tmp_path):
    masks = np.random.default_rng(0).random((4, 30, 50)) > 0.5
    _write(tmp_path / "cam.mat", masks)
    found = dict(read_matlab_masks(tmp_path / "cam.mat", (1, 3, 4)))
    np.testing.assert_array_equal(found[1] == 255, masks[1])
    np.testing.assert_array_equal(found[3] == 255, masks[3])
    assert set(np.unique(found[1])) == {0, 255}
    assert found[4] is None


def test_what_is_no_mask_file_is_a_bad_take(tmp_path):
    (tmp_path / "text.mat").write_text("MATLAB 5.0 MAT-file")
    with h5py.File(tmp_path / "other.mat", "w") as file:
        file.create_dataset("Pictures", data=np.zeros(3))
    with h5py.File(tmp_path / "numbers.mat", "w") as file:
        file.create_dataset("Masks", data=np.zeros(3))
    for name in ("text", "other", "numbers"):
        with pytest.raises(BadTakeError, match=f"{name}.mat") as caught:
            list(read_matlab_masks(tmp_path / f"{name}.mat", range(2)))
        assert caught.value.reason == "unreadable_masks"
