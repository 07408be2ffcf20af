"""A signal to one process stops all, at the same place."""

import signal
import time

import pytest
from joined_processes import executed_joined

# Rank 0 is ahead or behind as it goes; each stops where it is told to.
PROGRAM = """
import os, random, signal, sys, time
import jax
from dro_jax.training import hosts
from dro_jax.training.preemption import listening

def work(stop):
    for count in range(1, 2000):
        time.sleep(random.random() / 100)
        if count % 10 == 0:
            hosts.meet("a collective")
        if stop.now():
            break
    return count

hosts.meet("begin")
print("begun", flush=True)
ends = []
for _ in range(2):  # a process that catches the end of one run may make another
    with listening() as stop:
        ends.append(work(stop))
    print("stopped", flush=True)
told = stop.stopped("here")
assert told.by_all
assert hosts.exchange(ends) == [ends] * hosts.count()
assert max(ends) < 1999, "nobody stopped"
print(told, flush=True)
sys.exit(told.code)
"""


@pytest.mark.parametrize(
    ("sign", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=str
)
def test_all_stop_at_the_same_call(start, sign, code):
    processes = start(executed_joined, PROGRAM)
    processes.until(lambda: "begun" in processes.log(1), 60)
    time.sleep(0.3)
    processes.send(1, sign)
    processes.until(lambda: processes.log(0).count("stopped") == 1, 60)
    time.sleep(0.3)
    processes.send(0, sign)
    assert processes.wait(60) == [code, code], processes.ends_of_logs()


# Rank 1 is through, and waits for rank 0.
DONE = """
import os, signal, threading, time
from dro_jax.training import distributed, hosts

hosts.meet("begin")
if hosts.index() == 1:
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
else:
    time.sleep(1.5)
distributed.finish()
assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
print("finished", flush=True)
"""


def test_what_is_done_is_not_stopped_while_it_waits_for_others(start):
    processes = start(executed_joined, DONE)
    assert processes.wait(60) == [0, 0], processes.ends_of_logs()
    assert "stopped" not in processes.log(1)
