import numpy as np
import pytest
from pictures import figure_mask, iou, picture, room

from mas_ray.ingest.masks.chroma_key import ChromaKeyMasker, find_key_rgb
from mas_ray.ingest.rejects import BadTakeError

KEY = (40, 200, 70)


def _studio():
    """A green backdrop, lit unevenly."""
    light = np.linspace(0.6, 1.0, 180)[None, :, None]
    return np.broadcast_to((np.array(KEY) * light), (240, 180, 3)).astype(np.uint8)


def test_the_key_is_found_and_the_figure_cut_out():
    mask = figure_mask()
    frame = picture(mask, _studio(), noise_seed=0)
    found = ChromaKeyMasker(find_key_rgb([frame]))(frame, 0)
    assert iou(found.mask, mask) > 0.95
    assert found.others == 0.0


def test_a_second_figure_counts_as_others():
    mask, second = figure_mask(x=50), figure_mask(x=130, top=120)
    found = ChromaKeyMasker(KEY)(picture(mask | second, _studio()), 0)
    assert iou(found.mask, mask) > 0.9
    assert 0.4 < found.others < 0.8


@pytest.mark.parametrize("scene", [room(), np.full((240, 180, 3), 200, np.uint8)])
def test_no_key_colour_is_a_bad_take(scene):
    with pytest.raises(BadTakeError) as caught:
        find_key_rgb([picture(figure_mask(), scene)])
    assert caught.value.reason == "no_key_colour"


def test_an_empty_studio_is_nobody():
    assert ChromaKeyMasker(KEY)(_studio(), 0) is None
