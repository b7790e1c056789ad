"""``mas-ray <verb>``: dispatch. A verb's module is imported only when it is called; errors become one line."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from types import FrameType

VERBS = {
    "demo": "the main job: ingest, train, evaluate, predict and report on sample video",
    "sample": "write a sample corpus: real four-camera video, or synthetic people",
    "ingest": "turn a corpus of video into a dataset of masks and geodesic distances",
    "show": "say what a dataset holds and what was left out, or how far a training run is",
    "verify": "check a dataset: hashes, schema, rows, splits, and a sample of rows decoded",
    "gc": "remove from a dataset folder what no kept version needs",
    "requeue": "let the next ingest try takes again that were left out",
    "train": "train a cascade on a dataset, without labels",
    "tune": "train variations of a job and rank them, without labels",
    "evaluate": "compare a checkpoint's predictions with reference joints",
    "predict": "write joints and overlay videos",
    "export": "write a checkpoint for other runtimes: ONNX and torch.export, with a model card",
    "serve": "answer requests over HTTP: a picture or a clip in, poses out",
    "report": "put a run, a dataset, a sweep or an evaluation into one HTML file",
    "learn": "measure how well the method learns, on synthetic people",
    "tables": "measure the ablations beside the published tables",
    "submit": "run a job on a Ray cluster, or write it as a KubeRay RayJob",
    "jobs": "list a cluster's jobs, read their logs, stop them",
    "doctor": "say what is installed, cached and missing",
    "completion": "write the script by which a shell completes all this",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb.

    The exit status is 0 on success, 1 on an error, 2 on a wrong command line, 130 on Ctrl-C, 143 on SIGTERM.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    if debug:
        arguments.remove("--debug")
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help())
        return 0
    if arguments[0] == "--version":
        from mas_ray import __version__

        print(__version__)
        return 0
    verb, *rest = arguments
    if verb not in VERBS:
        print(f"mas-ray: unknown verb {verb!r}; expected one of {', '.join(VERBS)}", file=sys.stderr)
        return 2
    return run_verb(verb, lambda: importlib.import_module(f"mas_ray.cli.{verb}").run(rest), debug=debug)


def run_verb(verb: str, run: Callable[[], int], *, debug: bool = False) -> int:
    """Run what a verb does; its errors become one line and an exit status. SIGTERM ends it as Ctrl-C does."""
    terminated = threading.Event()
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when MLflow is imported; Ray's is off, too
    try:
        with _sigterm_as_ctrl_c(terminated):
            return run()
    except KeyboardInterrupt:
        what, status = ("terminated", 143) if terminated.is_set() else ("interrupted", 130)
        print(f"mas-ray: {what}; run the same command again to go on", file=sys.stderr)
        return status
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ValueError, OSError, RuntimeError) as error:
        if debug:
            traceback.print_exc()
        else:
            lines = str(error).splitlines()
            print(f"mas-ray {verb}: {lines[0] if lines else type(error).__name__}", file=sys.stderr)
        return 1


@contextmanager
def _sigterm_as_ctrl_c(terminated: threading.Event) -> Generator[None]:
    """Let SIGTERM do in the block what Ctrl-C does, whoever handles that by then, and say that it did."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return

    def interrupt(signal_number: int, frame: FrameType | None) -> None:
        terminated.set()
        if callable(signal.getsignal(signal.SIGINT)):
            signal.raise_signal(signal.SIGINT)
        else:  # a shell's background process begins with Ctrl-C ignored
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _help() -> str:
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {verb:<{width}}  {text}" for verb, text in VERBS.items())
    return (
        "usage: mas-ray VERB [--help] [--debug] ...\n\n"
        "3D human pose from video without a single pose label.\n\n"
        f"verbs:\n{verbs}\n\n"
        "mas-ray VERB --help describes a verb; --debug shows tracebacks."
    )


if __name__ == "__main__":
    sys.exit(main())
