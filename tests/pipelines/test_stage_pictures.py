import shutil

import pytest
from fresh_checkpoint import save_fresh

from mas_ray.pipelines import stage_pictures as module
from mas_ray.pipelines.stage_pictures import PicturesOverTime, draw_epoch, due_epochs
from mas_ray.shards.images import decode_image


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now_s = 100.0

    monkeypatch.setattr(module.time, "monotonic", lambda: Clock.now_s)
    return Clock


@pytest.fixture
def drawn(monkeypatch, clock):
    """The epochs drawn; each takes a second."""
    epochs: list[int] = []

    def draw(folder, stage, num_epochs, manifest):
        epochs.append(num_epochs)
        clock.now_s += 1

    monkeypatch.setattr(module, "draw_epoch", draw)
    return epochs


def test_the_same_held_out_frames_at_every_epoch(tmp_path, tiny_dataset):
    for epoch in (1, 7):
        save_fresh(tmp_path / f"limbs-epoch{epoch:04d}", seed=epoch)
        draw_epoch(tmp_path, "limbs", epoch, tiny_dataset.manifest)
    pictures = {}
    for epoch in (1, 7):
        folder = tmp_path / "overlays" / f"epoch{epoch:04d}"
        names = sorted(path.name for path in folder.iterdir())
        assert names == ["s01-000000.jpg", "s01-000001.jpg"], "s01 is held out"
        pictures[epoch] = decode_image((folder / names[0]).read_bytes())
        assert pictures[epoch].shape == (96, 4 * 96, 3)
    assert (pictures[1] != pictures[7]).any(), "two networks draw the same"
    assert sorted(path.name for path in (tmp_path / "overlays").iterdir()) == ["epoch0001", "epoch0007"]


def test_what_is_drawn_is_not_drawn_again_and_a_lost_checkpoint_leaves_nothing(tmp_path, tiny_dataset):
    checkpoint = save_fresh(tmp_path / "limbs-epoch0001", seed=1)
    draw_epoch(tmp_path, "limbs", 1, tiny_dataset.manifest)
    shutil.rmtree(checkpoint)
    draw_epoch(tmp_path, "limbs", 1, tiny_dataset.manifest)
    PicturesOverTime(tmp_path, "limbs", num_epochs=3, manifest=tiny_dataset.manifest).see(2)
    assert not (tmp_path / "overlays" / "epoch0002").exists()


@pytest.mark.parametrize(("num", "due"), [(1, [1]), (2, [1, 2]), (5, [1, 2, 3, 4, 5]), (25, [1, 7, 13, 19, 25])])
def test_first_last_and_some_between(num, due):
    assert due_epochs(num) == due


def test_each_time_is_drawn_once_with_the_newest_checkpoint(drawn, clock, tmp_path):
    pictures = PicturesOverTime(tmp_path, "limbs", num_epochs=25, manifest=tmp_path)
    for epoch in (1, 2, 3, 14, 15, 19, 25):  # 7 and 13 went by unseen
        clock.now_s += 1000
        pictures.see(epoch)
    assert drawn == [1, 14, 19, 25]


def test_pictures_wait_until_they_are_a_small_part_of_the_time(drawn, clock, tmp_path):
    pictures = PicturesOverTime(tmp_path, "limbs", num_epochs=5, manifest=tmp_path)
    for epoch in range(1, 6):
        clock.now_s += 20
        pictures.see(epoch)
    assert drawn == [1, 3, 5]
