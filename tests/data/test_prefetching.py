"""Work ahead: in order, errors and all, in a thread that never outlives its reader."""

import threading
import time

import pytest

from dro_jax.data.prefetching import prefetched


def threads():
    return [t for t in threading.enumerate() if t.name == "prefetch"]


@pytest.fixture(autouse=True)
def no_thread_is_left():
    assert threads() == []
    yield
    assert threads() == []


def counted(made, end=None):
    number = 0
    while number != end:
        made.append(number)
        yield [number]
        number += 1


def test_items_come_in_order_and_the_thread_ends_with_them():
    assert list(prefetched(counted([], 100), 2)) == list(range(100))
    parts = [[1, 2], [], [3]]
    assert list(prefetched(iter(parts), 1)) == [1, 2, 3]


def test_some_are_ready_before_they_are_asked_for_and_not_all():
    made = []
    items = prefetched(counted(made), 2)
    assert next(items) == 0
    deadline = time.monotonic() + 10
    while len(made) < 4 and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(0.02)
    assert made == [0, 1, 2, 3]  # one read, two ready, one in the thread's hands
    items.close()


@pytest.mark.parametrize("read", [0, 1, 5])
def test_closing_or_forgetting_it_ends_the_thread(read):
    for forget in (False, True):
        items = prefetched(counted([]), 1)
        for _ in range(read):
            next(items)
        assert len(threads()) == bool(read)
        if forget:
            del items
        else:
            items.close()
        assert threads() == []


@pytest.mark.parametrize("error", [ValueError("made"), KeyboardInterrupt("made")])
def test_errors_come_through_behind_what_came_before(error):
    def items():
        yield [1]
        raise error

    ahead = prefetched(items(), 2)
    assert next(ahead) == 1
    with pytest.raises(type(error), match="made"):
        next(ahead)
    assert list(ahead) == []
