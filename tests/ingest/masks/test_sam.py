import numpy as np
import pytest
from pictures import figure_mask, room

from mas_ray.config.ingest import ProvidedMasks, SamMasks
from mas_ray.ingest.masks.create import create_view_masker
from mas_ray.ingest.masks.method import PersonMask
from mas_ray.ingest.masks.sam import Lost, SamMasker, Tracking, choose, intersection_over_union
from mas_ray.ingest.masks.sam_prompts import Candidates

CONFIG = SamMasks(checkpoint="sam.pth", sha256="0", model="vit_b")


def _image(frame):
    """A picture that carries its number."""
    image = room()
    image[0, 0] = frame
    return image


def _logits(marks):
    """Low-resolution masks that say which candidate they are of."""
    return np.stack([np.full((256, 256), mark, np.float32) for mark in marks])


class KnownMasks:
    """A model that answers each frame with known candidates, and remembers what it was asked."""

    def __init__(self, answers, batch_size=1):
        self.answers = answers
        self.batch_size = batch_size
        self.batches = []
        self.asked = []

    def encode(self, images_rgb):
        frames = [int(image[0, 0, 0]) for image in images_rgb]
        self.batches.append(frames)
        return [_KnownFrame(self, frame) for frame in frames]


class _KnownFrame:
    def __init__(self, model, frame):
        self._model = model
        self._frame = frame

    def decode(self, prompts):
        self._model.asked.append((self._frame, prompts))
        answer = self._model.answers[self._frame]
        masks, scores = zip(*(answer(prompts) if callable(answer) else answer), strict=True)
        marks = [10 * self._frame + i for i in range(len(masks))]
        return Candidates(masks=np.stack(masks), scores=np.array(scores, np.float32), logits=_logits(marks))


class Seed:
    """Another method, with what it costs."""

    def __init__(self, masks):
        self._masks = masks
        self.frames = []

    def __call__(self, image_rgb, frame):
        self.frames.append(frame)
        mask = self._masks.get(frame)
        return None if mask is None else PersonMask(mask=mask, score=0.6)


def _run(answers, seeds, config=CONFIG, batch_size=1):
    model, seed = KnownMasks(answers, batch_size), Seed(seeds)
    masker = SamMasker(model, seed, config)
    found, states = [], []
    for person in masker.masks((frame, _image(frame)) for frame in sorted(answers)):
        found.append(person)
        states.append(masker.state)
    return found, states, model, seed


def _provenance(found):
    return ["-" if person is None else person.provenance for person in found]


def _reasons(states):
    return [state.reason if isinstance(state, Lost) else "tracking" for state in states]


def test_the_candidate_is_chosen_by_score_and_overlap():
    body = figure_mask()
    shirt = body & (np.arange(240)[:, None] < 120)
    candidates = Candidates(
        masks=np.stack([shirt, body, np.ones_like(body)]),
        scores=np.array([0.95, 0.9, 0.97], np.float32),
        logits=_logits([0, 1, 2]),
    )
    chosen = choose(candidates, figure_mask(x=93))
    np.testing.assert_array_equal(chosen.mask, body)
    assert chosen.score == pytest.approx(0.9)
    assert chosen.logits[0, 0] == 1.0


@pytest.mark.parametrize(("x", "score"), [(150, 0.9), (30, 0.0), (30, -0.4)])
def test_what_overlaps_nothing_or_is_worth_nothing_is_not_chosen(x, score):
    candidates = Candidates(masks=figure_mask(x=30)[None], scores=np.array([score], np.float32), logits=_logits([0]))
    assert choose(candidates, figure_mask(x=x)) is None


def test_a_walk_is_seeded_once_and_then_tracked():
    walk = {frame: figure_mask(x=60 + 5 * frame) for frame in range(8)}
    found, states, _, seed = _run({frame: [(mask, 0.9)] for frame, mask in walk.items()}, {0: figure_mask(x=62)})
    assert _provenance(found) == ["seeded"] + ["tracked"] * 7
    assert seed.frames == [0]
    for frame, mask in walk.items():
        np.testing.assert_array_equal(found[frame].mask, mask)
    assert [state.num_unchecked for state in states] == list(range(8))
    assert found[3].score == pytest.approx(0.9)


def test_prompts_come_from_the_last_mask_and_move_on_with_it():
    walk = {frame: figure_mask(x=60 + 8 * frame) for frame in range(3)}
    _, states, model, _ = _run({frame: [(mask, 0.9)] for frame, mask in walk.items()}, {0: walk[0]})
    (_, seeded), (_, first), (_, second) = model.asked
    assert seeded.logits is None
    assert states[2].motion_px == pytest.approx((8.0, 0.0), abs=0.01)
    # The first tracked frame knows no motion yet; the second is asked where the person will be.
    np.testing.assert_array_equal(first.box, seeded.box)
    np.testing.assert_allclose(second.box - first.box, [8.0, 0.0, 24.0, 0.0], atol=0.01)
    assert all(walk[2][int(y), int(x)] for x, y in second.points[second.labels == 1])
    # The accepted candidates' low-resolution masks are prompts again.
    np.testing.assert_array_equal(first.logits, _logits([0])[0])
    np.testing.assert_allclose(second.logits, _logits([10])[0], rtol=1e-6)


BODY, OTHER = figure_mask(x=60), figure_mask(x=130)
BLOATED = figure_mask(x=60, top=20, bottom=236)


@pytest.mark.parametrize(
    ("bad", "config", "reason"),
    [
        ([(BODY, 0.4)], CONFIG, "score"),
        ([(figure_mask(x=80), 0.9)], CONFIG, "overlap"),
        ([(BLOATED, 0.9)], CONFIG, "area"),
        ([(OTHER, 0.9)], CONFIG, "no_candidate"),
        ([(BODY, 0.0)], CONFIG, "no_candidate"),
    ],
)
def test_each_way_to_lose_the_track_asks_the_seed_anew(bad, config, reason):
    """Frame 1 answers badly to the track and well to the seed, from the same encoder pass."""
    first_lost = []

    def answer(prompts):
        if prompts.logits is not None:
            return bad
        first_lost.append(masker.state)
        return [(OTHER, 0.9)]

    model = KnownMasks({0: [(BODY, 0.9)], 1: answer, 2: [(OTHER, 0.9)]})
    seed = Seed({0: BODY, 1: OTHER})
    masker = SamMasker(model, seed, config)
    found = list(masker.masks((frame, _image(frame)) for frame in range(3)))
    assert _reasons(first_lost) == [reason]
    assert _provenance(found) == ["seeded", "seeded", "tracked"]
    np.testing.assert_array_equal(found[1].mask, OTHER)
    assert seed.frames == [0, 1]
    assert [frame for frame, _ in model.asked] == [0, 1, 1, 2]
    assert model.batches == [[0], [1], [2]]


def test_limits_are_the_jobs():
    answers = {0: [(BODY, 0.9)], 1: [(BLOATED, 0.9)]}
    area = BLOATED.sum() / BODY.sum()
    for limit, provenance in ((area - 0.01, "-"), (area + 0.01, "tracked")):
        config = SamMasks(checkpoint="", sha256="", max_area_change=float(limit))
        found, _, _, _ = _run(answers, {0: BODY}, config)
        assert _provenance(found) == ["seeded", provenance]


def test_lost_without_a_seed_stays_lost_until_the_seed_returns():
    answers = {0: [(BODY, 0.9)], 1: [(OTHER, 0.9)], 2: [(OTHER, 0.9)], 3: [(OTHER, 0.9)], 4: [(OTHER, 0.9)]}
    found, states, model, seed = _run(answers, {0: BODY, 3: OTHER})
    assert _provenance(found) == ["seeded", "-", "-", "seeded", "tracked"]
    assert _reasons(states) == ["tracking", "no_seed", "no_seed", "tracking", "tracking"]
    assert seed.frames == [0, 1, 2, 3]
    assert [frame for frame, _ in model.asked] == [0, 1, 3, 4]  # no seed, no question


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ([(BODY, 0.4)], "score"),
        ([(OTHER, 0.9)], "no_candidate"),
        ([(BODY & (np.arange(240)[:, None] < 95), 0.9)], "seed_overlap"),
    ],
)
def test_a_seed_that_leads_to_no_good_mask_is_nobody(answer, reason):
    found, states, _, _ = _run({0: answer}, {0: BODY})
    assert found == [None]
    assert _reasons(states) == [reason]


def test_the_seed_is_asked_now_and_then_and_catches_a_drift():
    config = SamMasks(checkpoint="", sha256="", check_every=3)
    # The track slides from the person, who stands still, onto what is beside it.
    slide = {frame: figure_mask(x=60 + 4 * frame) for frame in range(7)}
    answers = {
        frame: (lambda prompts, mask=mask: [(mask if prompts.logits is not None else BODY, 0.9)])
        for frame, mask in slide.items()
    }
    found, _, _, seed = _run(answers, dict.fromkeys(range(7), BODY), config)
    assert seed.frames == [0, 3, 6]
    assert _provenance(found) == ["seeded", "tracked", "tracked", "tracked", "tracked", "tracked", "seeded"]
    np.testing.assert_array_equal(found[6].mask, BODY)


def test_a_seed_that_sees_nobody_does_not_end_a_good_track():
    config = SamMasks(checkpoint="", sha256="", check_every=2)
    found, states, _, seed = _run({frame: [(BODY, 0.9)] for frame in range(5)}, {0: BODY}, config)
    assert _provenance(found) == ["seeded"] + ["tracked"] * 4
    assert seed.frames == [0, 2, 4]
    assert [state.num_unchecked for state in states] == [0, 1, 0, 1, 0]


def test_an_empty_seed_is_no_seed():
    found, states, model, _ = _run({0: [(BODY, 0.9)]}, {0: np.zeros_like(BODY)})
    assert found == [None]
    assert _reasons(states) == ["no_seed"]
    assert not model.asked


def test_a_person_who_walks_out_is_lost():
    config = SamMasks(checkpoint="", sha256="", min_overlap=0.0, max_area_change=1e9)
    walk = {frame: figure_mask(x=100 + 30 * frame) for frame in range(5)}
    answers = {frame: [(mask if mask.any() else BODY, 0.9)] for frame, mask in walk.items()}
    found, states, _, _ = _run(answers, {0: walk[0]}, config)
    assert _provenance(found)[-1] == "-"
    assert _reasons(states)[-1] == "no_seed"


@pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
def test_batches_change_nothing_and_read_no_further_than_one(batch_size):
    walk = {frame: figure_mask(x=50 + 6 * frame) for frame in range(7)}
    answers = {frame: [(mask, 0.9)] for frame, mask in walk.items()}
    model, seed = KnownMasks(answers, batch_size), Seed({0: walk[0]})
    num_read = 0

    def frames():
        nonlocal num_read
        for frame in range(7):
            num_read += 1
            yield frame, None if frame == 3 else _image(frame)  # frame 3 does not decode

    most_ahead = 0
    found = []
    for person in SamMasker(model, seed, CONFIG).masks(frames()):
        found.append(person)
        most_ahead = max(most_ahead, num_read - len(found))
    assert most_ahead == min(batch_size, 7) - 1
    assert _provenance(found) == ["seeded", "tracked", "tracked", "-", "tracked", "tracked", "tracked"]
    assert [frame for batch in model.batches for frame in batch] == [0, 1, 2, 4, 5, 6]
    assert max(map(len, model.batches)) <= batch_size


def test_frame_by_frame_is_the_same_as_streamed():
    walk = {frame: figure_mask(x=50 + 6 * frame) for frame in range(4)}
    answers = {frame: [(mask, 0.9)] for frame, mask in walk.items()}
    streamed, _, _, _ = _run(answers, {0: walk[0]}, batch_size=4)
    masker = SamMasker(KnownMasks(answers), Seed({0: walk[0]}), CONFIG)
    for frame, person in enumerate(streamed):
        single = masker(_image(frame), frame)
        np.testing.assert_array_equal(single.mask, person.mask)
        assert (single.score, single.provenance) == (person.score, person.provenance)


def test_a_fresh_masker_remembers_nothing():
    answers = {0: [(BODY, 0.9)], 1: [(BODY, 0.9)]}
    model, seed = KnownMasks(answers), Seed(dict.fromkeys(range(2), BODY))
    for frame in range(2):
        assert _provenance([SamMasker(model, seed, CONFIG)(_image(frame), frame)]) == ["seeded"]
    assert isinstance(SamMasker(model, seed, CONFIG).state, Lost)


def test_a_model_that_runs_elsewhere_is_used_and_no_checkpoint_opened():
    masker = create_view_masker(
        SamMasks(checkpoint="nowhere.pth", sha256="0", seed=ProvidedMasks()),
        selfie_model=None,
        sample_frames=lambda num: [],
        background=None,
        provided={0: BODY}.get,
        sam_model=KnownMasks({0: [(BODY, 0.9)]}),
    )
    assert _provenance([masker(_image(0), 0)]) == ["seeded"]


def test_tracks_are_the_whole_state():
    """Going on from a state is going on from what it was built of: nothing else is remembered."""
    answers = {frame: [(figure_mask(x=50 + 6 * frame), 0.9)] for frame in range(6)}
    found, states, _, _ = _run(answers, {0: figure_mask(x=50)})
    masker = SamMasker(KnownMasks(answers), Seed({}), CONFIG)
    assert isinstance(states[2], Tracking)
    masker.state = states[2]
    for frame in range(3, 6):
        np.testing.assert_array_equal(masker(_image(frame), frame).mask, found[frame].mask)


def test_intersection_over_union_of_nothing():
    empty = np.zeros((4, 4), bool)
    assert intersection_over_union(empty, empty) == 0.0
    assert intersection_over_union(BODY, BODY) == 1.0


@pytest.mark.parametrize(("field", "value"), [("max_area_change", 0.9), ("check_every", 0)])
def test_limits_that_make_no_sense_are_refused(field, value):
    with pytest.raises(ValueError, match=f"{field}: expected at least 1"):
        SamMasks(checkpoint="", sha256="", **{field: value})
