import hashlib
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
from pictures import figure_mask, iou, picture, room
from segment_anything import SamPredictor, sam_model_registry
from segment_anything.utils.transforms import ResizeLongestSide
from tiny_sam import tiny_sam

from mas_ray.assets import AssetUnavailableError
from mas_ray.config.ingest import SamMasks
from mas_ray.ingest.masks.method import PersonMask
from mas_ray.ingest.masks.sam import SamMasker
from mas_ray.ingest.masks.sam_image import reduced, reduced_shape
from mas_ray.ingest.masks.sam_network import SamNetwork, load_network
from mas_ray.ingest.masks.sam_prompts import prompts_from_mask

SHAPES = ((240, 180), (135, 239), (64, 64))
BATCH_TOLERANCE = 2e-4
"""Of logits and scores, of magnitude 1 to 10: a batch's matrix products round otherwise than a single image's."""


@pytest.fixture(scope="module")
def sam():
    return tiny_sam()


@pytest.fixture(scope="module")
def pictures():
    """Frames of several shapes and the person in each."""
    masks = [
        figure_mask(height=height, width=width, x=width // 2, top=20, bottom=height - 20) for height, width in SHAPES
    ]
    return [
        (picture(mask, room(*shape, seed=i), noise_seed=i), mask)
        for i, (shape, mask) in enumerate(zip(SHAPES, masks, strict=True))
    ]


@pytest.mark.parametrize("shape", [(240, 180), (135, 239), (1080, 1920), (1500, 37), (1024, 1024), (2001, 1333)])
def test_frames_are_reduced_as_the_predictor_reduces_them(shape):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    np.testing.assert_array_equal(reduced(image), ResizeLongestSide(1024).apply_image(image))
    assert reduced_shape(*shape) == ResizeLongestSide.get_preprocess_shape(*shape, 1024)


def test_batches_and_prompts_are_the_predictors(sam, pictures):
    """Three frames of three shapes in one batch, each prompted twice; the second time with a low-resolution mask.

    Beside the predictor, one image at a time: logits and scores within 2e-4, masks equal but for pixels whose logits
    are that close to 0.
    """
    predictor = SamPredictor(sam)
    encoded = SamNetwork(sam, batch_size=3).encode([image for image, _ in pictures])
    for (image, person), frame in zip(pictures, encoded, strict=True):
        predictor.set_image(image)
        logits = None
        for num_positive, num_negative in ((3, 2), (1, 0), (0, 0)):
            prompts = prompts_from_mask(person, num_positive=num_positive, num_negative=num_negative, logits=logits)
            asked = {
                "point_coords": prompts.points if len(prompts.points) else None,
                "point_labels": prompts.labels if len(prompts.points) else None,
                "box": prompts.box,
                "mask_input": None if logits is None else logits[None],
            }
            soft, scores, low = predictor.predict(**asked, return_logits=True)
            found = frame.decode(prompts)
            assert found.masks.shape == (3, *image.shape[:2])
            np.testing.assert_allclose(found.scores, scores, atol=BATCH_TOLERANCE)
            np.testing.assert_allclose(found.logits, low, atol=BATCH_TOLERANCE)
            differs = found.masks != (soft > 0)
            assert np.abs(soft[differs]).max(initial=0.0) < BATCH_TOLERANCE
            assert 0.0 < (soft > 0).mean() < 1.0
            logits = low[0]


def test_one_by_one_the_predictors_bits(sam, pictures):
    predictor = SamPredictor(sam)
    image, person = pictures[0]
    prompts = prompts_from_mask(person, num_positive=3, num_negative=2)
    predictor.set_image(image)
    masks, scores, low = predictor.predict(prompts.points, prompts.labels, prompts.box)
    found = SamNetwork(sam).encode([image])[0].decode(prompts)
    np.testing.assert_array_equal(found.masks, masks)
    np.testing.assert_array_equal(found.scores, scores)
    np.testing.assert_array_equal(found.logits, low)


def test_bfloat16_is_near_enough(sam, pictures, monkeypatch):
    """As on a GPU, with the CPU's bfloat16: embeddings within 3 %, masks in 99 % of their pixels."""
    image, person = pictures[0]
    exact = SamNetwork(sam).encode([image])[0]
    monkeypatch.setattr(SamNetwork, "_autocast", lambda _: torch.autocast("cpu", dtype=torch.bfloat16))
    rough = SamNetwork(sam).encode([image])[0]
    assert rough.embedding.dtype == torch.float32
    assert 0.0 < (rough.embedding - exact.embedding).norm() < 0.03 * exact.embedding.norm()
    prompts = prompts_from_mask(person, num_positive=3, num_negative=2)
    assert (rough.decode(prompts).masks == exact.decode(prompts).masks).mean() > 0.99


def test_images_and_prompts_matter(sam, pictures):
    """Otherwise the comparison with the predictor would show nothing."""
    network = SamNetwork(sam)
    image, person = pictures[0]
    frame, empty_room = network.encode([image, room(*image.shape[:2], seed=9)])
    prompts = prompts_from_mask(person, num_positive=3, num_negative=2)
    other_prompts = prompts_from_mask(np.roll(person, 60, axis=1), num_positive=3, num_negative=2)
    with_mask = prompts_from_mask(person, num_positive=3, num_negative=2, logits=np.eye(256, dtype=np.float32))
    known = frame.decode(prompts).logits
    for other in (frame.decode(other_prompts), empty_room.decode(prompts), frame.decode(with_mask)):
        assert np.abs(other.logits - known).max() > 100 * BATCH_TOLERANCE


def test_no_more_than_a_batch_is_encoded_at_once_and_nothing_twice(sam, monkeypatch):
    sizes = _encoder_batches(sam, monkeypatch)
    network = SamNetwork(sam, batch_size=2)
    encoded = network.encode([room(64, 64, seed=i) for i in range(3)])
    prompts = prompts_from_mask(figure_mask(64, 64, x=32, top=10, bottom=50), num_positive=1, num_negative=1)
    for frame in encoded * 3:
        frame.decode(prompts)
    assert sizes == [2, 1]


def test_a_compiled_encoder_sees_one_batch_size(sam, monkeypatch):
    sizes = _encoder_batches(sam, monkeypatch)
    monkeypatch.setattr(torch, "compile", lambda module: module)
    images = [room(64, 64, seed=i) for i in range(3)]
    prompts = prompts_from_mask(figure_mask(64, 64, x=32, top=10, bottom=50), num_positive=1, num_negative=1)
    compiled = SamNetwork(sam, batch_size=2, compile_encoder=True).encode(images)
    assert sizes == [2, 2]
    assert len(compiled) == 3
    plain = SamNetwork(sam, batch_size=2).encode(images)
    for a, b in zip(compiled, plain, strict=True):
        np.testing.assert_allclose(a.decode(prompts).logits, b.decode(prompts).logits, atol=BATCH_TOLERANCE)


def test_the_network_and_the_track_run_end_to_end():
    """Random weights find nothing, so every limit is open: what is shown is that the parts fit."""
    config = SamMasks(
        checkpoint="", sha256="", min_score=-9.0, min_overlap=0.0, min_seed_overlap=0.0, max_area_change=1e9
    )
    body, sam = figure_mask(), tiny_sam()
    masker = SamMasker(SamNetwork(sam, batch_size=2), lambda image, frame: PersonMask(mask=body, score=1.0), config)
    with torch.no_grad():
        sam.mask_decoder.iou_prediction_head.layers[-1].bias.fill_(0.5)
    frames = [(frame, picture(body, room(), noise_seed=frame)) for frame in range(3)]
    found = [person for person in masker.masks(frames) if person is not None]
    assert found
    assert all(person.mask.shape == body.shape and iou(person.mask, body) > 0.0 for person in found)


@pytest.fixture
def checkpoint(tmp_path, monkeypatch):
    """A tiny network's file and its hash; the registry builds a network of its size."""
    path = tmp_path / "sam.pth"
    torch.save(tiny_sam().state_dict(), path)
    monkeypatch.setitem(sam_model_registry, "vit_b", tiny_sam)
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_checkpoint_is_loaded_by_path_and_hash(checkpoint):
    path, digest = checkpoint
    network = load_network(SamMasks(checkpoint=str(path), sha256=digest, model="vit_b"))
    loaded = network._sam.state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tiny_sam().state_dict().items())
    assert network.batch_size == (8 if torch.cuda.is_available() else 1)

    with pytest.raises(ValueError, match=rf"masks\.sha256: .*sam\.pth has {digest}, expected 1234"):
        load_network(SamMasks(checkpoint=str(path), sha256="1234", model="vit_b"))
    with pytest.raises(ValueError, match=r"masks\.checkpoint: .*none\.pth does not exist"):
        load_network(SamMasks(checkpoint=str(path.parent / "none.pth"), sha256=digest, model="vit_b"))


def test_a_checkpoint_is_loaded_by_url_and_hash(checkpoint, tmp_path, monkeypatch):
    path, digest = checkpoint
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(path.parent)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}/sam.pth"
    try:
        load_network(SamMasks(checkpoint=url, sha256=digest, model="vit_b"), batch_size=3)
        with pytest.raises(AssetUnavailableError, match=rf"has SHA-256 {digest}, expected 1234"):
            load_network(SamMasks(checkpoint=url, sha256="1234", model="vit_b"))
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert load_network(SamMasks(checkpoint=url, sha256=digest, model="vit_b"), batch_size=5).batch_size == 5


@pytest.mark.parametrize("content", [None, b"no tensors at all", b""])
def test_weights_of_another_size_are_refused(tmp_path, monkeypatch, content):
    path = tmp_path / "other.pth"
    monkeypatch.setitem(sam_model_registry, "vit_b", tiny_sam)
    torch.save({"image_encoder.pos_embed": torch.zeros(1)}, path)
    if content is not None:
        path.write_bytes(content)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(ValueError, match=r"masks\.model: .*other\.pth does not hold the weights of vit_b") as caught:
        load_network(SamMasks(checkpoint=str(path), sha256=digest, model="vit_b"))
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_the_real_architecture_is_saved_loaded_and_run(tmp_path):
    """ViT-B with random weights, by path and hash, on one small frame."""
    path = tmp_path / "vit_b.pth"
    torch.save(sam_model_registry["vit_b"]().state_dict(), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    network = load_network(SamMasks(checkpoint=str(path), sha256=digest, model="vit_b"))
    body = figure_mask()
    encoded = network.encode([picture(body, room())])
    found = encoded[0].decode(prompts_from_mask(body, num_positive=3, num_negative=2))
    assert found.masks.shape == (3, 240, 180)
    assert np.isfinite(found.logits).all()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_args):
        pass


def _encoder_batches(sam, monkeypatch):
    """Sizes of the batches that the encoder is given from now on."""
    sizes = []
    forward = sam.image_encoder.forward

    def counted(batch):
        sizes.append(len(batch))
        return forward(batch)

    monkeypatch.setattr(sam.image_encoder, "forward", counted)
    return sizes
