"""Who watches a run of several processes hears each line once, and ends it for all."""

from several_processes import execute, run_together

PROGRAM = """
import jax
from dro_jax.errors import ConfigError, Pruned
from dro_jax.training.watched_metrics import MetricWatch

told = []

def on_metrics(step, metrics):
    told.append((step, dict(metrics)))
    if step == 10:
        raise Pruned("others do better")
    if step == 15:
        raise ConfigError("no such metric")

first = jax.process_index() == 0
watch = MetricWatch(on_metrics)
watch.tell_earlier(lambda: [{"step": 5, "loss": 2.0}] if first else 1 / 0)
assert watch.reason is None
watch.tell(10, {"loss": 1.0 if first else 7.0})
assert watch.reason == "others do better"
try:
    watch.tell(15, {})
except ConfigError as error:
    assert str(error) == "no such metric"
else:
    raise AssertionError("it is refused on all")
assert [step for step, _ in told] == ([5, 10, 15] if first else []), told
"""


def test_the_first_process_is_told_and_all_know_what_it_decides():
    run_together(execute, PROGRAM, count=2, devices=1, timeout=120)
