"""What the first process reads is told to all, and forgotten when all have it."""

from several_processes import execute, run_together

PROGRAM = """
import jax
from jax._src import distributed
from dro_jax.errors import DataError
from dro_jax.training.hosts import from_first

def items():
    for number in range(100):
        yield {"number": number}
    raise DataError("the hundredth is bad")

def nothing():
    assert jax.process_index() == 1
    yield from ()

got = []
try:
    for item in from_first(items() if jax.process_index() == 0 else nothing()):
        got.append(item["number"])
except DataError as error:
    got.append(str(error))
assert got == [*range(100), "the hundredth is bad"], got
client = distributed.global_state.client
client.wait_at_barrier("all have looked", 60_000)
assert len(client.key_value_dir_get("dro_jax/turns")) < 40
client.wait_at_barrier("all have counted", 60_000)
"""


def test_items_and_refusals_of_the_first_are_those_of_all():
    run_together(execute, PROGRAM, count=2, devices=1, timeout=120)
