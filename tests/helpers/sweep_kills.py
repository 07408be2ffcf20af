"""Workers of a sweep, forks of this process: three that come at once, two that are killed.

python tests/helpers/sweep_kills.py FOLDER KILLS: the three find no storage yet, and run all
trials; then of two one is killed again and again, at random points, until a trial was hit.
Prints how many trials there are in the end. Forks start in no time: a process of its own
would import for longer than its trials take.
"""

import os
import pathlib
import random
import signal
import sys
import time
import traceback

from sweep_worker import LINE, STEP_SECONDS, STEPS, work

from dro_jax.sweeps.trial_store import open_store

_ADDED = 4  # trials, whenever all are done


def main(folder: str, kills: str) -> None:
    """As the module says."""
    path, draw = pathlib.Path(folder), random.Random(0)
    count, left = _ADDED, int(kills)
    running = [_fork(path, count) for _ in range(3)]
    for worker in running:
        assert os.waitpid(worker, 0)[1] == 0
    running.clear()
    count += _ADDED
    while left > 0 or not _was_hit(path):
        while len(running) < 2:
            running.append(_fork(path, count))
        _wait(path, draw)
        victim = draw.choice(running)
        os.kill(victim, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(victim, 0)[1])
        running.remove(victim)
        if status == -signal.SIGKILL:
            left -= 1
        elif status == 0:  # it had done all
            count += _ADDED
        else:
            sys.exit("a worker failed by itself")
    for worker in running:
        os.waitpid(worker, 0)
    worker = _fork(path, count)
    assert os.waitpid(worker, 0)[1] == 0
    print(count)


def _was_hit(folder: pathlib.Path) -> bool:
    """Whether a kill met a trial in hand: by chance all may fall between two."""
    with open_store(None, folder, "sweep") as store:
        return any(trial.tries > 1 for trial in store.trials())


def _wait(folder: pathlib.Path, draw: random.Random) -> None:
    """Until some more steps are done, or for a while as short as a start."""
    if draw.random() < 0.3:
        time.sleep(draw.uniform(0, 0.3))
        return
    goal = _steps(folder) + draw.randint(1, 2 * STEPS)
    ended = os.WEXITED | os.WNOHANG | os.WNOWAIT  # all trials may be done
    while _steps(folder) < goal and os.waitid(os.P_ALL, 0, ended) is None:
        time.sleep(0.03)
    time.sleep(draw.uniform(0, STEP_SECONDS))


def _steps(folder: pathlib.Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("steps.txt")) // LINE


def _fork(folder: pathlib.Path, count: int) -> int:
    worker = os.fork()
    if worker:
        return worker
    try:
        # However often one trial is hit: nobody died of it.
        work(folder, count, max_tries=1000)
        os._exit(0)
    except BaseException:  # noqa: BLE001, whatever it is
        traceback.print_exc()
        os._exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
