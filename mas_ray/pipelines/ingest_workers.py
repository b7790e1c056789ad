"""Ray's part of ingest: a pool of workers to which takes are dealt, and a count of how far they are."""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, Protocol, cast, runtime_checkable

import ray
from ray.exceptions import RayError

from mas_ray.config.jobs import Workers
from mas_ray.ingest.commit import CommitRecord
from mas_ray.ingest.take_work import PlannedTake, TakeSettings, ingest_take
from mas_ray.ingest.tally import Tally
from mas_ray.pipelines import session
from mas_ray.pipelines.progress import Advance, progress

_POLL_S = 0.5
_MOST_ERRORS_IN_A_ROW = 10  # a full disk, say
_MOST_TASKS = 10_000
"""Each costs Ray's driver some kilobytes and milliseconds for as long as it runs; larger corpora have several takes to
a task. A task that is tried again passes over those that were committed."""


@runtime_checkable
class TakeWork(Protocol):
    """What a worker does with a take: ``ingest_take``."""

    def __call__(self, item: PlannedTake, settings: TakeSettings, *, advance: Callable[[Tally], None]) -> CommitRecord:
        """Do it, and give the record."""
        ...


class TakeFailedError(RuntimeError):
    """Takes stopped on an error that is no fault of theirs; the message gives the first one."""


def ingest_on_ray(
    todo: Sequence[PlannedTake],
    settings: TakeSettings,
    workers: Workers,
    *,
    most_empty: int,
    watch: Callable[[Tally], None],
    work: TakeWork = ingest_take,
) -> None:
    """Ingest takes on the connected cluster. An error of one take does not stop the others.

    Args:
        todo: The takes; where they are not made in a store, their folders are the same place on every machine.
        settings: How to ingest them.
        workers: The pool.
        most_empty: When more takes than this have yielded nothing, the rest is left: no dataset will come of it.
        watch: Called now and then with what all workers have done so far.
        work: What a worker does with a take.

    Raises:
        TakeFailedError: Some takes could not be committed, too many yielded nothing, or Ray gave up.
    """
    import ray.data  # sets up its logging on import, and takes a second

    session.quiet_data()
    # A take may take hours; what would be retried for ever is ended by its attempt journal.
    ray.data.DataContext.get_current().execution_no_progress_timeout_s = -1
    counter = cast(Any, ray.remote(num_cpus=0)(_Counter)).remote()
    compute = ray.data.ActorPoolStrategy(size=min(workers.num, len(todo)), max_tasks_in_flight_per_actor=1)
    positions = [{"position": i} for i in range(len(todo))]
    receipts = ray.data.from_items(positions, override_num_blocks=min(len(todo), _MOST_TASKS)).map(
        cast(Any, _Worker),  # Ray's annotation knows functions only
        fn_constructor_kwargs={"todo": tuple(todo), "settings": settings, "counter": counter, "work": work},
        compute=compute,
        num_cpus=workers.cpus_each,
        num_gpus=workers.gpus_each or None,
    )
    errors: list[str] = []
    in_a_row = 0
    empty: Counter[str] = Counter()
    try:
        with (
            _interrupts_noticed() as interrupted,
            progress("ingest", len(todo), "takes") as advance,
            _polled(counter, advance, watch),
        ):
            for receipt in receipts.iter_rows():
                errors += [receipt["error"]] if receipt["error"] else []
                in_a_row = in_a_row + 1 if receipt["error"] else 0
                empty.update([receipt["empty"]] if receipt["empty"] else [])
                advance(1)
                if in_a_row == _MOST_ERRORS_IN_A_ROW or empty.total() > most_empty:
                    break
                if interrupted.is_set():
                    raise KeyboardInterrupt
    except RayError as error:
        raise TakeFailedError(f"Ray gave up: {str(error).strip().splitlines()[-1]}") from error
    if empty.total() > most_empty:
        reasons = ", ".join(f"{count} {reason}" for reason, count in empty.most_common(3))
        raise TakeFailedError(f"too many takes yield nothing ({reasons}); max_reject_fraction allows {most_empty} more")
    if errors:
        raise TakeFailedError(f"{errors[0]} ({len(errors)} of {len(todo)} takes failed)")


@contextmanager
def _interrupts_noticed() -> Generator[threading.Event, None, None]:
    """Says whether Ctrl-C was pressed in the block: raised inside some callback of Ray, the exception would be lost."""
    interrupted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield interrupted  # signals are the main thread's
        return
    before = signal.getsignal(signal.SIGINT)

    def note(signal_number: int, frame: FrameType | None) -> None:
        interrupted.set()
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, note)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)


class _Counter:
    """What all workers have done."""

    def __init__(self) -> None:
        self.tally = Tally()

    def add(self, tally: Tally) -> None:
        self.tally += tally

    def total(self) -> Tally:
        return self.tally


class _Worker:
    """Ingests the takes it is dealt; only receipts travel through Ray."""

    def __init__(self, todo: Sequence[PlannedTake], settings: TakeSettings, counter: Any, work: TakeWork) -> None:
        self._todo, self._settings, self._counter, self._work = todo, settings, counter, work

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        item = self._todo[row["position"]]
        error = empty = ""
        with _batched(lambda tally: self._counter.add.remote(tally)) as advance:
            try:
                record = self._work(item, self._settings, advance=advance)
                if not record.instants:
                    empty = next(reject.reason for reject in record.rejects if reject.instant is None)
            except Exception as failure:  # whatever it is, the other takes go on; it fails the run at its end
                error = f"take {item.take.take_id}: {type(failure).__name__}: {str(failure).strip() or 'no message'}"
        return {"take_id": item.take.take_id, "error": " ".join(error.split()), "empty": empty}


@contextmanager
def _batched(send: Callable[[Tally], object]) -> Generator[Callable[[Tally], None], None, None]:
    """Collects tallies and sends them twice a second, and at the end."""
    waiting, last_s = Tally(), time.monotonic()

    def advance(tally: Tally) -> None:
        nonlocal waiting, last_s
        waiting += tally
        if time.monotonic() - last_s >= _POLL_S:
            send(waiting)
            waiting, last_s = Tally(), time.monotonic()

    yield advance
    if waiting != Tally():
        send(waiting)


@contextmanager
def _polled(counter: Any, advance: Advance, watch: Callable[[Tally], None]) -> Generator[None, None, None]:
    """Shows what the counter has beside the progress while the block runs."""
    stop = threading.Event()

    def poll() -> None:
        while True:
            stopped = stop.wait(_POLL_S)
            try:
                total: Tally = cast(Any, ray).get(counter.total.remote())
            except RayError:  # its process was killed: what it had counted is lost, and no take with it
                return
            if total.planned:
                instants = f"{total.instants} of {total.planned}"
                advance(0, instants=instants, accepted=total.accepted, rejected=total.rejected)
            watch(total)
            if stopped:
                return

    thread = threading.Thread(target=poll, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=10 * _POLL_S)
