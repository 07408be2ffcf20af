"""What one process of a run decides for all of them."""

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax._src import distributed

from dro_jax import errors

# The watchdog ends a run that stands still; this is for one that has none.
_PATIENCE_MILLISECONDS = 24 * 3600 * 1000
_asked = itertools.count()
_SAID = "dro_jax/first_says"
_KEPT = 32  # answers that lie at the coordination service before they are deleted


def first_says(work: Callable[[], Any]) -> Any:
    """What the work of the first process gives, on every process.

    Files are looked at once, so that processes that see a folder at different moments
    still run the same collectives. All processes must call this in the same order. They
    wait at the coordination service and not in a collective, whose patience of half a
    minute a long piece of work would outlast.

    Args:
      work: gives values that JSON holds; done on the first process alone.

    Raises:
      UserError: the work did, and so do all processes.
    """
    if jax.process_count() == 1:
        return work()
    client = distributed.global_state.client
    number = next(_asked)
    name = f"{_SAID}/{number // _KEPT}/{number % _KEPT}"
    if jax.process_index() == 0:
        try:
            said = {"value": work()}
        except errors.UserError as error:
            said = {"error": str(error), "kind": type(error).__name__}
        client.key_value_set(name, json.dumps(said))
    else:
        said = json.loads(client.blocking_key_value_get(name, _PATIENCE_MILLISECONDS))
    if number % _KEPT == _KEPT - 1:
        # A long run's would fill the first process's memory.
        client.wait_at_barrier(f"{name}/read", _PATIENCE_MILLISECONDS)
        if jax.process_index() == 0:
            client.key_value_delete(f"{_SAID}/{number // _KEPT}/")
    if "error" in said:
        raise getattr(errors, said["kind"])(said["error"])
    return said["value"]


def from_first(items: Iterator[Any]) -> Iterator[Any]:
    """What an iterator of the first process gives, on every process, one by one.

    For what only one process can read, as standard input. All processes must take the
    items in step with one another.

    Args:
      items: values that JSON holds; the other processes' own are not looked at.

    Raises:
      UserError: the iterator did, and so do all processes.
    """
    while item := first_says(lambda: list(itertools.islice(items, 1))):
        yield item[0]
