"""Segment Anything in actors of their own: the same masks as in this process, also when an actor dies."""

import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import ray
from segment_anything.build_sam import _build_sam

from mas_ray.config.ingest import SamMasks, SamWorkers
from mas_ray.ingest.masks.sam_network import SamNetwork
from mas_ray.ingest.masks.sam_prompts import prompts_from_mask
from mas_ray.pipelines import sam_pool as module
from mas_ray.pipelines.sam_pool import SamPoolError, pool_of, sam_pool

pytestmark = [pytest.mark.slow, pytest.mark.ray]

WORKERS = SamWorkers(num=2, cpus_each=0.5, gpus_each=0.0, batch_size=3)
FATAL = 13


def _tiny_network():
    """Segment Anything with random weights of a seed: the same in every process."""
    import torch

    torch.manual_seed(0)
    sam = _build_sam(
        encoder_embed_dim=32, encoder_depth=2, encoder_num_heads=2, encoder_global_attn_indexes=[1], checkpoint=None
    )
    return SamNetwork(sam, batch_size=3)


def _image(seed, height=48, width=70):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def _prompts(height=48, width=70):
    mask = np.zeros((height, width), bool)
    mask[10:40, 20:45] = True
    return prompts_from_mask(mask, num_positive=2, num_negative=1)


def _pid(actor):
    return ray.get(actor.__ray_call__.remote(lambda self: os.getpid()))


@pytest.fixture(scope="module", autouse=True)
def session():
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # actors cannot import tests
    ray.init(address="local", num_cpus=4, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()
    ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


@pytest.fixture(scope="module")
def pool():
    with pool_of(_tiny_network, WORKERS) as pool:
        yield pool


def _assert_same(found, expected):
    assert found.masks.dtype == bool
    # Actors may have another number of threads than this process, which shows in the last digits.
    assert (found.masks != expected.masks).mean() < 1e-3
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.logits, expected.logits, rtol=1e-4, atol=1e-4)


def test_the_pool_answers_as_the_network_does(pool):
    """Also from a task elsewhere, and on both actors; a width that is no multiple of 8 survives packing."""
    images = [_image(seed) for seed in range(3)]
    expected = [frame.decode(_prompts()) for frame in _tiny_network().encode(images)]
    batches = [pool.encode(images) for _ in range(64)]  # nothing is encoded before the first prompt
    of_actor = {frames[0].actor._actor_id: frames for frames in batches}
    assert len(of_actor) == 2
    for frames in of_actor.values():
        for frame, known in zip(frames, expected, strict=True):
            _assert_same(frame.decode(_prompts()), known)

    elsewhere = ray.remote(lambda pool: [frame.decode(_prompts()) for frame in pool.encode(images)])
    for found, known in zip(ray.get(elsewhere.remote(pool)), expected, strict=True):
        _assert_same(found, known)


def test_a_batch_is_encoded_once_and_again_when_forgotten(pool, monkeypatch):
    def num_batches(actor):
        return ray.get(actor.__ray_call__.remote(lambda self: len(self._embeddings)))

    frames = pool.encode([_image(0), _image(1)])
    actor = frames[0].actor
    before = num_batches(actor)
    first = [frame.decode(_prompts()) for frame in frames for _ in range(2)][::2]
    assert num_batches(actor) == min(before + 1, module._MAX_BATCHES)
    ray.get(actor.__ray_call__.remote(lambda self: self._embeddings.clear()))
    for frame, known in zip(frames, first, strict=True):
        _assert_same(frame.decode(_prompts()), known)
    assert num_batches(actor) == 1


def test_a_killed_actor_is_replaced_in_the_middle_of_a_batch(pool):
    frames = pool.encode([_image(seed) for seed in range(3)])
    known = _tiny_network().encode([_image(seed) for seed in range(3)])
    _assert_same(frames[0].decode(_prompts()), known[0].decode(_prompts()))
    pid = _pid(frames[0].actor)
    os.kill(pid, signal.SIGKILL)
    for frame, expected in zip(frames, known, strict=True):
        _assert_same(frame.decode(_prompts()), expected.decode(_prompts()))
    assert _pid(frames[0].actor) != pid


def test_a_call_that_kills_is_tried_so_often_and_the_pool_goes_on(tmp_path):
    deaths = str(tmp_path / "deaths")

    def fatal_network():
        network = _tiny_network()
        decode = network.decode

        def fatal(embedding, prompts, *, height, width):
            if height == FATAL:
                with Path(deaths).open("a") as file:
                    file.write("x")
                os.kill(os.getpid(), signal.SIGKILL)
            return decode(embedding, prompts, height=height, width=width)

        network.decode = fatal
        return network

    workers = SamWorkers(num=1, cpus_each=0.5, gpus_each=0.0, batch_size=1, max_attempts=2)
    with pool_of(fatal_network, workers) as pool:
        mask = np.zeros((FATAL, 40), bool)
        mask[4:9, 10:20] = True
        prompts = prompts_from_mask(mask, num_positive=1, num_negative=0)
        with pytest.raises(SamPoolError, match="actor died on frame 0") as caught:
            pool.encode([_image(0, height=FATAL, width=40)])[0].decode(prompts)
        assert "\n" not in str(caught.value)
        assert Path(deaths).read_text() == "xx"
        assert pool.encode([_image(1)])[0].decode(_prompts()).masks.any()


def test_a_checkpoint_that_cannot_be_loaded_is_one_line(tmp_path):
    masks = SamMasks(checkpoint=str(tmp_path / "none.pth"), sha256="0" * 64, model="vit_b")
    with pytest.raises(ValueError, match=r"^masks\.checkpoint: .*none\.pth does not exist$"), sam_pool(masks, WORKERS):
        pass
