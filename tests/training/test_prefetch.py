import threading
import time

import pytest

from mas_ray.training.prefetch import prefetch


def _named() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("prefetch")}


@pytest.mark.parametrize("ahead", [1, 2])
def test_results_come_in_the_order_of_the_items(ahead):
    def slow_if_even(item: int) -> int:
        time.sleep(0.002 * (item % 2 == 0))
        return item * item

    assert list(prefetch(slow_if_even, range(20), ahead=ahead)) == [item * item for item in range(20)]
    assert list(prefetch(slow_if_even, [], ahead=ahead)) == []


@pytest.mark.parametrize("ahead", [1, 2])
def test_no_more_results_are_made_early_than_allowed(ahead):
    begun = list[int]()
    results = prefetch(lambda item: begun.append(item), iter(range(10)), ahead=ahead)
    for number in range(1, 6):
        next(results)
        time.sleep(0.02)  # the thread does all that it may
        assert begun == list(range(number + ahead))
    results.close()


def test_the_next_result_is_made_while_this_one_is_in_use():
    """The thread waits for what only the reader of the first result does."""
    used = threading.Event()

    def function(item: int) -> int:
        assert item == 0 or used.wait(5)
        return item

    results = prefetch(function, range(2))
    assert next(results) == 0
    used.set()
    assert next(results) == 1


def test_an_error_comes_where_the_result_would_have():
    def fails_at_two(item: int) -> int:
        if item == 2:
            raise ValueError("row 2: not a decodable JPEG")
        return item

    results = prefetch(fails_at_two, range(5), ahead=2)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="row 2"):
        next(results)
    assert not _named()
    with pytest.raises(StopIteration):
        next(results)


@pytest.mark.parametrize("num_read", [0, 1, 3])
def test_the_thread_ends_with_the_generator(num_read):
    begun = list[int]()
    results = prefetch(lambda item: begun.append(item), range(1000), ahead=2)
    for _ in range(num_read):
        next(results)
    assert bool(_named()) == (num_read > 0)
    results.close()
    assert not _named()
    assert len(begun) <= num_read + 2


def test_nothing_is_computed_before_the_first_result_is_asked_for():
    begun = list[int]()
    prefetch(lambda item: begun.append(item), range(3))
    time.sleep(0.02)
    assert not begun
