import hashlib

import numpy as np
import pytest
import torch
from pictures import figure_mask, iou, picture, room
from segment_anything import SamPredictor, sam_model_registry
from segment_anything.build_sam import _build_sam

from mas_ray.config.ingest import SamMasks
from mas_ray.ingest.masks.method import PersonMask
from mas_ray.ingest.masks.sam import SamMasker, SamModel, load_model, prompts_from_mask

CONFIG = SamMasks(checkpoint="sam.pth", sha256="0", model="vit_b")


def _tiny_sam(checkpoint=None):
    """The real architecture with random weights, a width that a test can afford."""
    return _build_sam(
        encoder_embed_dim=32,
        encoder_depth=2,
        encoder_num_heads=2,
        encoder_global_attn_indexes=[1],
        checkpoint=checkpoint,
    )


class Candidates:
    """Returns known masks and scores, and keeps what it was asked."""

    def __init__(self, masks, scores):
        self.answer = np.stack(masks), np.array(scores, np.float32)
        self.prompts = []

    def __call__(self, image_rgb, prompts):
        self.prompts.append(prompts)
        return self.answer


def _seed(mask):
    return lambda image, frame: None if mask is None else PersonMask(mask=mask, score=0.6)


def test_prompts_lie_where_they_should():
    mask = figure_mask()
    prompts = prompts_from_mask(mask, num_positive=3, num_negative=2)
    left, top, right, bottom = prompts.box
    rows, columns = np.nonzero(mask)
    assert left < columns.min() < columns.max() < right
    assert top < rows.min() < rows.max() < bottom
    inside = [mask[int(y), int(x)] for x, y in prompts.points]
    assert inside == [True, True, True, False, False]
    assert prompts.labels.tolist() == [1, 1, 1, 0, 0]
    apart = np.linalg.norm(prompts.points[:, None] - prompts.points[None], axis=-1)[np.triu_indices(5, 1)]
    assert apart.min() > 20


def test_prompts_of_a_mask_that_fills_the_picture_have_no_outside():
    prompts = prompts_from_mask(np.ones((50, 40), bool), num_positive=2, num_negative=2)
    assert prompts.labels.tolist() == [1, 1]
    assert prompts.box.tolist() == [0, 0, 39, 49]


def test_the_candidate_is_chosen_by_score_and_agreement_with_the_seed():
    body = figure_mask()
    shirt = body & (np.arange(240)[:, None] < 120)
    everything = np.ones_like(body)
    model = Candidates([shirt, body, everything], [0.95, 0.9, 0.97])
    found = SamMasker(model, _seed(figure_mask(x=93)), CONFIG)(picture(body, room()), 0)
    np.testing.assert_array_equal(found.mask, body)
    assert found.score == pytest.approx(0.9)
    assert len(model.prompts) == 1


def test_a_candidate_elsewhere_is_nobody():
    model = Candidates([figure_mask(x=30)], [0.9])
    assert SamMasker(model, _seed(figure_mask(x=150)), CONFIG)(room(), 0) is None


def test_no_seed_no_question():
    model = Candidates([figure_mask()], [1.0])
    assert SamMasker(model, _seed(None), CONFIG)(room(), 0) is None
    assert not model.prompts


def test_the_real_network_runs_end_to_end():
    torch.manual_seed(0)
    body = figure_mask()
    model = SamModel(SamPredictor(_tiny_sam().eval()))
    prompts = prompts_from_mask(body, num_positive=3, num_negative=2)
    masks, scores = model(picture(body, room()), prompts)
    assert masks.shape == (3, 240, 180)
    assert scores.shape == (3,)
    found = SamMasker(Candidates(list(masks | body), [1.0, 0.5, 0.5]), _seed(body), CONFIG)(picture(body, room()), 0)
    assert iou(found.mask, body) > 0.0


def test_a_checkpoint_is_loaded_by_path_and_hash(tmp_path, monkeypatch):
    path = tmp_path / "sam.pth"
    weights = _tiny_sam()
    torch.save(weights.state_dict(), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setitem(sam_model_registry, "vit_b", _tiny_sam)
    model = load_model(SamMasks(checkpoint=str(path), sha256=digest, model="vit_b"))
    loaded = model._predictor.model.state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in weights.state_dict().items())

    with pytest.raises(ValueError, match=rf"masks\.sha256: .*sam\.pth has {digest}, expected 1234"):
        load_model(SamMasks(checkpoint=str(path), sha256="1234", model="vit_b"))
    with pytest.raises(ValueError, match=r"masks\.checkpoint: .*none\.pth does not exist"):
        load_model(SamMasks(checkpoint=str(tmp_path / "none.pth"), sha256=digest, model="vit_b"))


def test_weights_of_another_size_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "other.pth"
    monkeypatch.setitem(sam_model_registry, "vit_b", _tiny_sam)
    torch.save({"image_encoder.pos_embed": torch.zeros(1)}, path)
    for content in (path.read_bytes(), b"no tensors at all"):
        path.write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        with pytest.raises(
            ValueError, match=r"masks\.model: .*other\.pth does not hold the weights of vit_b"
        ) as caught:
            load_model(SamMasks(checkpoint=str(path), sha256=digest, model="vit_b"))
        assert "\n" not in str(caught.value)
