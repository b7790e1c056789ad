"""Decoders that crash, hang and take all memory; frames that are those of the same functions without a process."""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from moving_square import picture, write_video

from mas_ray.config.ingest import DecodeLimits
from mas_ray.ingest import decoder_process
from mas_ray.ingest.decoder_process import DecoderProcess
from mas_ray.ingest.rejects import BadTakeError
from mas_ray.ingest.video import open_video

LIMITS = DecodeLimits()


@pytest.fixture
def video(tmp_path):
    return write_video(tmp_path / "cam.mp4", [picture(i, 1) for i in range(24)])


@pytest.fixture
def damaged(video):
    data = bytearray(video.read_bytes())
    middle = data.index(b"mdat") + (len(data) - data.index(b"mdat")) // 2
    data[middle : middle + 60] = np.random.default_rng(0).integers(0, 256, 60, np.uint8).tobytes()
    path = video.with_name("damaged.mp4")
    path.write_bytes(data)
    return path


def misbehaving(monkeypatch, body, *, at_frame=5):
    """Let decoders do this when they come to a frame."""
    code = f"""
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from mas_ray.ingest import decoder_child, video

decode = video._decode

def misbehaving(*arguments):
    import ctypes, os, time
    for number, frame in enumerate(decode(*arguments)):
        if number == {at_frame}:
            {body}
        yield frame

video._decode = misbehaving
decoder_child.main(*map(int, sys.argv[2:]))
"""
    monkeypatch.setattr(decoder_process, "_COMMAND", code)


def read(video, limits=LIMITS):
    with DecoderProcess(str(video), limits) as process:
        return list(process.frames(range(process.info.num_frames)))


def reason(video, limits=LIMITS):
    with pytest.raises(BadTakeError, match=r"^cam\.mp4: ") as error:
        read(video, limits)
    assert "\n" not in str(error.value)
    return error.value.reason


def is_running(pid):
    try:
        return "(Z" not in Path(f"/proc/{pid}/stat").read_text().replace(") ", "(")
    except FileNotFoundError:
        return False


def assert_ends(pid, within_s=10.0):
    end_s = time.monotonic() + within_s
    while is_running(pid):
        assert time.monotonic() < end_s, f"process {pid} still runs"
        time.sleep(0.02)


@pytest.mark.parametrize("numbers", [range(24), [0, 1, 5, 13, 40], [23], []], ids=str)
@pytest.mark.parametrize("name", ["video", "damaged"])
def test_frames_are_those_without_a_process(request, name, numbers):
    path = str(request.getfixturevalue(name))
    alone = open_video(path, max_pixels=LIMITS.max_pixels, max_frames=LIMITS.max_frames)
    with DecoderProcess(path, LIMITS) as process:
        info = process.info
        assert (info.width_px, info.height_px) == (alone.info.width_px, alone.info.height_px)
        assert (info.frames_per_s, info.num_frames) == (alone.info.frames_per_s, alone.info.num_frames)
        np.testing.assert_array_equal(info.times_s, alone.info.times_s)
        for here, there in (
            (alone.frames(numbers), process.frames(numbers)),
            (alone.frames(numbers, pixel_format="gray"), process.frames(numbers, pixel_format="gray")),
            (alone.small_frames(numbers, size_px=30), process.small_frames(numbers, size_px=30)),
        ):
            for (number, expected), (found_number, found) in zip(here, there, strict=True):
                assert number == found_number
                assert (expected is None) == (found is None)
                if found is not None:
                    np.testing.assert_array_equal(found, expected)


def test_a_stream_may_be_left_for_another(video):
    with DecoderProcess(str(video), LIMITS) as process:
        left = process.frames(range(24))
        first = next(left)[1]
        again = dict(process.frames(range(24)))
        np.testing.assert_array_equal(again[0], first)
        assert sorted(again) == list(range(24))
        with pytest.raises(RuntimeError, match="another stream"):
            next(left)


@pytest.mark.parametrize("first", [range(8), [0, 7], []], ids=str)
def test_frames_behind_a_stream_that_was_read_go_on(video, monkeypatch, first):
    """The decoder comes to frame 5 once: whoever decoded it again would crash."""
    path = str(video)
    with DecoderProcess(path, LIMITS) as process:
        expected = [image for _, image in process.frames(range(24))]
    crash_the_second_time = "_ = os.environ.get('SEEN') and os.kill(os.getpid(), 11); os.environ['SEEN'] = '1'"
    misbehaving(monkeypatch, crash_the_second_time)
    with DecoderProcess(path, LIMITS) as process:
        for numbers in (first, range(8, 12), [12], [15, 23]):
            stream = process.frames(numbers)
            for number in numbers:  # not to where the stream says that it has ended
                found_number, found = next(stream)
                assert found_number == number
                np.testing.assert_array_equal(found, expected[number])
        with pytest.raises(BadTakeError, match="SIGSEGV"):  # of another kind, or earlier ones: from the start
            list(process.frames([6]))


def test_no_more_than_a_few_frames_are_decoded_ahead(video, monkeypatch):
    misbehaving(monkeypatch, "os.kill(os.getpid(), 11)", at_frame=10)
    with DecoderProcess(str(video), LIMITS) as process:
        frames = process.frames(range(24))
        for _ in range(10 - decoder_process._LOOK_AHEAD):
            next(frames)
        time.sleep(0.3)
        assert process._process.poll() is None
        with pytest.raises(BadTakeError):
            list(frames)


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", "SIGBUS"])
def test_a_crash(video, monkeypatch, name):
    misbehaving(monkeypatch, f"os.kill(os.getpid(), {int(signal.Signals[name])})")
    assert reason(video) == "decoder_crashed"


def test_a_kill_says_nothing_of_the_video(video, monkeypatch):
    misbehaving(monkeypatch, "os.kill(os.getpid(), 9)")
    with pytest.raises(ChildProcessError, match="SIGKILL"):
        read(video)


@pytest.mark.parametrize("hang", ["time.sleep(1000)", "ctypes.PyDLL(None).sleep(1000)"], ids=["wait", "holding_python"])
def test_a_hang(video, monkeypatch, hang):
    misbehaving(monkeypatch, hang)
    begin_s = time.monotonic()
    assert reason(video, DecodeLimits(max_frame_s=2.0)) == "decode_timeout"
    assert time.monotonic() - begin_s < 20


def test_the_whole_clip_has_a_limit_too(video, monkeypatch):
    misbehaving(monkeypatch, "pass\n        time.sleep(0.3)")  # at every frame
    assert reason(video, DecodeLimits(max_frame_s=20.0, max_clip_s=1.5)) == "decode_timeout"


def test_a_slow_decoder_that_gives_signs_of_life_is_waited_for(video, monkeypatch):
    misbehaving(monkeypatch, "pass\n        time.sleep(0.4)")
    with DecoderProcess(str(video), DecodeLimits(max_frame_s=3.0)) as process:
        ((_, image),) = process.frames([11])  # 12 frames of 0.4 s lie before it
    assert image is not None


@pytest.mark.parametrize("storm", ["[bytearray(1 << 20) for _ in range(10**6)]", "bytearray(1 << 44)"])
def test_an_allocation_storm(video, monkeypatch, storm):
    misbehaving(monkeypatch, storm)
    assert reason(video, DecodeLimits(max_memory_mb=300)) == "decode_memory"


@pytest.mark.parametrize("max_memory_mb", [1, 4, 8])
def test_a_decoder_that_calls_want_of_memory_damage(tmp_path, max_memory_mb):
    images = [np.random.default_rng(i).integers(0, 256, (720, 1280, 3), np.uint8) for i in range(2)]
    video = write_video(tmp_path / "cam.mp4", images)
    assert reason(video, DecodeLimits(max_memory_mb=max_memory_mb)) == "decode_memory"


def test_a_bug_is_not_the_videos_fault(video, monkeypatch):
    misbehaving(monkeypatch, "raise KeyError('oops')")
    with pytest.raises(RuntimeError, match="oops"):
        read(video)
    monkeypatch.setattr(decoder_process, "_COMMAND", "import nowhere_at_all")
    with pytest.raises(RuntimeError, match="status 1"):
        read(video)


def test_nothing_is_left_behind(video):
    open_files = len(list(Path("/proc/self/fd").iterdir()))
    with DecoderProcess(str(video), LIMITS) as process:
        next(process.frames(range(24)))
        pid = process._process.pid
    assert not is_running(pid)
    assert len(list(Path("/proc/self/fd").iterdir())) == open_files


def test_it_outlives_the_thread_that_started_it(video):
    started = []
    thread = threading.Thread(target=lambda: started.append(DecoderProcess(str(video), LIMITS)))
    thread.start()
    thread.join()
    with started[0] as process:
        assert len(list(process.frames(range(24)))) == 24


@pytest.mark.parametrize("state", ["idle", "hung"])
def test_it_dies_with_its_parent(video, tmp_path, state):
    parent = f"""
import sys, time
sys.path[:] = {sys.path!r}
from mas_ray.config.ingest import DecodeLimits
from mas_ray.ingest import decoder_process
if {state == "hung"}:
    decoder_process._COMMAND = '''
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from mas_ray.ingest import decoder_child, video
def hang(*arguments):
    import ctypes
    ctypes.PyDLL(None).sleep(1000)  # holds the interpreter: no thread of its own could end it
video._decode = hang
decoder_child.main(*map(int, sys.argv[2:]))
'''
process = decoder_process.DecoderProcess({str(video)!r}, DecodeLimits())
if {state == "idle"}:
    process.info
else:
    process._send(do="open", path={str(video)!r}, max_pixels=10**6, max_frames=100)
    time.sleep(1.5)
print(process._process.pid, flush=True)
time.sleep(1000)
"""
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert is_running(pid)
        process.kill()
    assert_ends(pid)


def test_it_imports_little():
    code = "import sys; from mas_ray.ingest import decoder_child; print(*sorted(sys.modules))"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"cv2", "torch", "pyarrow", "jaxtyping", "ray", "mas_ray.ingest.rejects"} & set(modules)
