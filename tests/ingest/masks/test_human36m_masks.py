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
    found = dict(read_matlab_masks(tmp_path / "cam.mat", (1, 3, 4), max_pixels=1500))
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
    with h5py.File(tmp_path / "group.mat", "w") as file:
        file.create_group("Masks")
    for name in ("text", "other", "numbers", "group"):
        with pytest.raises(BadTakeError, match=f"{name}.mat") as caught:
            list(read_matlab_masks(tmp_path / f"{name}.mat", range(2), max_pixels=1500))
        assert caught.value.reason == "unreadable_masks"


def _write_reference(file, dataset):
    file.create_dataset("Masks", (1, 1), dtype=h5py.ref_dtype)[0, 0] = dataset.ref


def test_what_claims_to_be_huge_is_not_read(tmp_path):
    path = tmp_path / "cam.mat"
    with h5py.File(path, "w") as file:
        _write_reference(file, file.create_dataset("mask", (2**20, 2**22), np.uint8, chunks=(1, 2**20)))
    with pytest.raises(BadTakeError, match="the mask of frame 0 is 1048576x4194304 px, expected 1500 pixels at most"):
        list(read_matlab_masks(path, range(1), max_pixels=1500))
    with h5py.File(path, "w") as file:
        file.create_dataset("Masks", (2**44,), np.uint8, chunks=(2**20,))
    with pytest.raises(BadTakeError, match="expected HDF5 with references"):
        list(read_matlab_masks(path, range(1), max_pixels=1500))


def test_no_other_file_is_opened(tmp_path):
    outside = tmp_path / "outside.bin"
    outside.write_bytes(bytes(range(100)))
    _write(tmp_path / "other.mat", np.ones((1, 10, 10), bool))
    path = tmp_path / "cam.mat"
    with h5py.File(path, "w") as file:
        _write_reference(file, file.create_dataset("mask", (10, 10), np.uint8, external=[(str(outside), 0, 100)]))
    with pytest.raises(BadTakeError, match="lies in another file"):
        list(read_matlab_masks(path, range(1), max_pixels=1500))
    with h5py.File(path, "w") as file:
        file["Masks"] = h5py.ExternalLink("other.mat", "/Masks")
    with pytest.raises(BadTakeError, match="lies in another file"):
        list(read_matlab_masks(path, range(1), max_pixels=1500))
    with h5py.File(path, "w") as file:
        layout = h5py.VirtualLayout((10, 10), np.uint8)
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.mat"), "#refs#/0", (10, 10))
        _write_reference(file, file.create_virtual_dataset("mask", layout))
    with pytest.raises(BadTakeError, match="lies in another file"):
        list(read_matlab_masks(path, range(1), max_pixels=1500))
