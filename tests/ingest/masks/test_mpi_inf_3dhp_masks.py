import numpy as np
import pytest

from mas_ray.ingest.masks.mpi_inf_3dhp import background_is_bright, read_studio_masks, studio_person
from mas_ray.ingest.rejects import BadTakeError

SHAPE = (60, 80)


def rectangle(rows, columns):
    mask = np.zeros(SHAPE, bool)
    mask[slice(*rows), slice(*columns)] = True
    return mask


BODY = rectangle((10, 30), (30, 40))
LEGS = rectangle((36, 50), (30, 40))
CHAIR = rectangle((30, 36), (25, 45))


def image(red, *, green=False):
    found = np.zeros((*SHAPE, 3), np.uint8)
    found[..., 0] = 255 * red
    found[..., 1] = 255 * green
    return found


def stream(images):
    return lambda frames: ((frame, images[frame]) for frame in frames)


def read(foreground, chair, frames=None):
    frames = range(len(foreground)) if frames is None else frames
    return dict(read_studio_masks(stream(foreground), stream(chair), frames))


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("chair_turned", [False, True])
def test_red_counts_and_the_border_tells_which_way(turned, chair_turned):
    foreground = image((BODY | CHAIR) ^ turned, green=~BODY)
    found = read([foreground] * 2, [image(CHAIR ^ chair_turned)] * 2)
    for mask in found.values():
        np.testing.assert_array_equal(mask, np.where(BODY, 255, 0))


def test_polarity_is_of_many_masks():
    """One mask that is white all over turns nothing."""
    assert not background_is_bright([image(np.ones(SHAPE, bool)), image(BODY), None, image(BODY)])
    assert background_is_bright([image(~BODY)])


def test_a_person_whom_a_chair_cuts_in_two_stays_whole():
    found = studio_person(BODY | LEGS | CHAIR, CHAIR)
    np.testing.assert_array_equal(found, BODY | LEGS)


def test_what_stands_apart_is_nobodys():
    apart = rectangle((40, 50), (2, 8)) | rectangle((2, 3), (70, 71))
    np.testing.assert_array_equal(studio_person(BODY | apart, np.zeros(SHAPE, bool)), BODY)
    np.testing.assert_array_equal(studio_person(BODY | CHAIR | apart, CHAIR), BODY)


def test_a_corner_of_the_persons_box_is_no_pinhole():
    person = rectangle((10, 40), (30, 50))
    person[10, 30] = False
    np.testing.assert_array_equal(studio_person(person, np.zeros(SHAPE, bool)), person)


def test_nobody():
    assert studio_person(np.zeros(SHAPE, bool), CHAIR) is None
    assert studio_person(CHAIR, CHAIR) is None
    assert read([image(CHAIR)], [image(CHAIR)]) == {0: None}


def test_a_frame_without_either_mask_has_none():
    masks = [image(BODY), None, image(BODY)]
    assert [mask is None for mask in read(masks, [image(CHAIR)] * 3).values()] == [False, True, False]
    chairs = [image(CHAIR), None, image(CHAIR)]
    assert [mask is None for mask in read([image(BODY)] * 3, chairs).values()] == [False, True, False]


def test_masks_that_do_not_fit():
    with pytest.raises(BadTakeError, match="frame 0: the mask and the chair's mask differ in size"):
        read([image(BODY)], [np.zeros((30, 40, 3), np.uint8)])
    with pytest.raises(BadTakeError, match="none of the first masks decodes"):
        read([None, None], [image(CHAIR)] * 2)
