"""Processes without jax: how they end, and what the launcher makes of it."""

import os
import signal
import subprocess
import sys
import time

import pytest

from dro_jax.launching.local_run import Rank, run_with_retries

STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);"


def ranks(*codes):
    """Each runs a line of Python, which knows its number as `rank`."""
    return [
        Rank(n, [sys.executable, "-S", "-c", f"import time, sys; rank = {n}; {code}"],
             dict(os.environ))
        for n, code in enumerate(codes)
    ]  # fmt: skip


def run(tmp_path, *codes, retries=0, grace_seconds=0.3):
    return run_with_retries(
        lambda: ranks(*codes),
        str(tmp_path / "logs"),
        retries=retries,
        grace_seconds=grace_seconds,
    )


def log(tmp_path, number):
    return (tmp_path / "logs" / f"rank_{number}.log").read_text()


def test_all_done(tmp_path, capfd):
    assert run(tmp_path, "print('a'); print('b', file=sys.stderr)", "print('c')") == 0
    assert capfd.readouterr() == ("a\n", "b\n")
    assert sorted(log(tmp_path, 0).split()) == ["a", "b"]
    assert log(tmp_path, 1) == "c\n"


def test_what_a_process_leaves_running_holds_up_nothing(tmp_path):
    child = (
        "subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(60)'])"
    )
    begun = time.monotonic()
    assert run(tmp_path, f"import subprocess; {child}") == 0
    assert time.monotonic() - begun < 20


def test_logs_are_added_to(tmp_path):
    for _ in range(2):
        run(tmp_path, "print('a')")
    assert log(tmp_path, 0) == "a\na\n"


def test_workers_that_are_no_one_run_outlast_one_another(tmp_path):
    status = run_with_retries(
        lambda: ranks("sys.exit(1)", "time.sleep(1); print('done')"),
        str(tmp_path / "logs"),
        retries=0,
        grace_seconds=0.1,
        together=False,
    )
    assert (status, log(tmp_path, 1)) == (1, "done\n")


def test_the_rest_ends_when_one_has_failed(tmp_path, capfd):
    begun = time.monotonic()
    status = run(
        tmp_path,
        "time.sleep(60)",
        "print('it broke'); sys.exit(1)",
        f"{STUBBORN} time.sleep(60)",
    )
    assert status == 1
    assert time.monotonic() - begun < 10
    said = capfd.readouterr().err
    # Rank 1 first; then SIGTERM, which rank 0 takes, and SIGKILL.
    assert [line.split()[:2] for line in said.splitlines()[1:4]] == [
        ["1", "1"], ["0", "143"], ["2", "137"],
    ]  # fmt: skip
    assert "crashed: an error that is not the user's" in said
    assert "killed by the launcher" in said
    assert "rank_1.log:\n  it broke" in said


def test_last_lines_are_those_that_tell_something(tmp_path, capfd):
    run(tmp_path, "sys.exit(143)", "print('x' * 999); sys.exit(1)", grace_seconds=5)
    said = capfd.readouterr().err
    assert f"rank_1.log:\n  {'x' * 300} …\n" in said
    assert "rank_0.log" not in said


def test_a_stopped_process_is_killed(tmp_path):
    stop = "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)"
    assert run(tmp_path, stop, "time.sleep(0.2); sys.exit(142)") == 142


def test_one_that_is_slow_to_end_has_its_time(tmp_path):
    assert run(tmp_path, "time.sleep(0.3); sys.exit(2)", "sys.exit(134)",
               grace_seconds=5) == 2  # fmt: skip


def test_those_that_save_have_longer(tmp_path):
    saves = "import signal; signal.signal(15, signal.SIG_IGN); time.sleep(0.8)"
    assert run(tmp_path, "sys.exit(143)", f"{saves}; sys.exit(143)",
               grace_seconds=0.15) == 143  # fmt: skip
    assert run(tmp_path, "sys.exit(134)", f"{saves}; sys.exit(143)",
               grace_seconds=0.15) == 134  # fmt: skip


@pytest.mark.parametrize(
    "status, times", [(143, 3), (142, 3), (134, 3), (2, 1), (1, 1), (0, 1), (130, 1)]
)
def test_what_is_retried(tmp_path, status, times):
    ended = run(tmp_path, f"print('once'); sys.exit({status})", retries=2)
    assert ended == status
    assert log(tmp_path, 0).count("once") == times


def test_a_retry_that_goes_well(tmp_path, capfd):
    marker = tmp_path / "marker"
    code = (
        f"import os; there = os.path.exists({str(marker)!r}); "
        f"open({str(marker)!r}, 'w').close(); sys.exit(0 if there else 143)"
    )
    assert run(tmp_path, code, retries=5) == 0
    assert "retry 1 of 5" in capfd.readouterr().err


# A shell's background jobs, as those that run tests may be, begin with Ctrl-C ignored.
LAUNCHER = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from dro_jax.launching.local_run import Rank, run_with_retries
code = sys.argv[2]
made = lambda: [Rank(n, [sys.executable, "-S", "-c", code], dict(os.environ)) for n in (0, 1)]
sys.exit(run_with_retries(made, sys.argv[1], retries=3, grace_seconds=5))
"""
COUNTS = """
import signal, sys, time
got = []
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda n, _: got.append(n))
print("ready", flush=True)
while not got:
    time.sleep(0.01)
time.sleep(0.3)
print("got", *got, flush=True)
sys.exit(128 + got[0])
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_handed_on_once(tmp_path, number):
    words = [sys.executable, "-c", LAUNCHER, str(tmp_path / "logs"), COUNTS]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as launcher:
        try:
            wait_for(lambda: all("ready" in text for text in both(tmp_path)))
            # As a terminal does: the whole group of the launcher.
            os.killpg(launcher.pid, number)
            assert launcher.wait(30) == 128 + number
        finally:
            launcher.kill()
    for text in both(tmp_path):
        assert text == f"ready\ngot {int(number)}\n"


def test_a_second_ctrl_c_kills(tmp_path):
    code = f"{STUBBORN} import time; signal.signal(2, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
    words = [sys.executable, "-c", LAUNCHER, str(tmp_path / "logs"), code]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as p:
        try:
            wait_for(lambda: all("ready" in text for text in both(tmp_path)))
            p.send_signal(signal.SIGINT)
            time.sleep(0.3)
            assert p.poll() is None
            p.send_signal(signal.SIGINT)
            assert p.wait(30) == 130
        finally:
            p.kill()


def both(tmp_path):
    paths = [tmp_path / "logs" / f"rank_{n}.log" for n in (0, 1)]
    return [path.read_text() if path.exists() else "" for path in paths]


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
