import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import pytest

from dro_jax.progress_bar import ProgressBar

BAR = "━" * 12 + "─" * 12


class Clock:
    def __init__(self):
        self.seconds = 0.0

    def __call__(self):
        return self.seconds


def progress(clock, **changes):
    settings = {"total": 100, "start": 0, "now": clock} | changes
    return ProgressBar("train", settings.pop("total"), **settings)


def test_rate_and_time_left_are_those_since_the_last_line(capsys):
    clock = Clock()
    bar = progress(clock)
    clock.seconds = 30.0  # compilation and the first step
    bar.advance()
    bar.restart()
    clock.seconds += 10
    bar.advance(9)
    bar.say("loss 2", "kl 0.1")
    bar.lap()
    clock.seconds += 5
    bar.restart()  # an evaluation
    clock.seconds += 2
    bar.advance(40)
    bar.say("loss 1")
    lines = capsys.readouterr().err.splitlines()
    assert lines[-2:] == [
        "train 10/100 steps  0.9 steps/s  0:01:40 left  loss 2  kl 0.1",
        "train 50/100 steps  20 steps/s  0:00:02 left  loss 1",
    ]


def test_a_long_loop_is_not_silent(capsys):
    clock = Clock()
    bar = progress(clock, total=None, unit="records")
    for _ in range(10):
        clock.seconds += 8
        bar.advance(16)
    assert capsys.readouterr().err.splitlines() == [
        f"train {n} records  2 records/s" for n in (48, 96, 144)
    ]


def test_units_that_come_along_have_rates_of_their_own(capsys):
    clock = Clock()
    bar = progress(clock, unit="responses")
    clock.seconds = 10.0
    bar.advance(5, tokens=20_000)
    bar.say()
    clock.seconds += 10
    bar.advance(5, tokens=100)
    bar.say()
    assert capsys.readouterr().err.splitlines() == [
        "train 5/100 responses  0.5 responses/s  2,000 tokens/s  0:03:10 left",
        "train 10/100 responses  0.5 responses/s  10 tokens/s  0:03:00 left",
    ]


@pytest.mark.parametrize(
    ("width", "row"),
    [
        (90, f"train {BAR} 50/100 steps  5 steps/s  0:00:10 left  loss 1.5  kl 0.25"),
        (80, f"train {BAR} 50/100 steps  5 steps/s  0:00:10 left  loss 1.5"),
        (72, f"train {BAR} 50/100 steps  5 steps/s  0:00:10 left"),
        (46, f"train {BAR} 50/100 steps"),
        (29, "train ━━━━━───── 50/100 steps"),
        (20, "train 50/100 steps"),
    ],
)
def test_metrics_drop_out_before_bar_and_counter_do(width, row):
    clock = Clock()
    bar = progress(clock)
    clock.seconds = 10.0
    bar.advance(50)
    bar.say("loss 1.5", "kl 0.25")
    assert bar._row(width) == row


IN_A_TERMINAL = """
import time
from dro_jax.messages import note
from dro_jax.progress_bar import ProgressBar
with ProgressBar("train", 50) as bar:
    for step in range(50):
        bar.advance()
    bar.say("loss 1.25", "a_long_name_of_a_metric 0.123456")
    note("a note above the bar")
    time.sleep(0.3)
"""


BENEATH = """
import time
import rich.text
from dro_jax.messages import say
from dro_jax.progress_bar import ProgressBar, shown_above_bars
with shown_above_bars(lambda: rich.text.Text("the table")):
    for name in ("train", "decode"):
        with ProgressBar(name, 50) as bar:
            bar.advance(50)
            bar.say("loss 1.25")
            say(f"a line of {name}")
            time.sleep(0.6)
    time.sleep(0.3)
"""


def lines_in_a_terminal(program, columns):
    """What a program writes to a terminal, control sequences left out."""
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm"}
    environment.pop("COLUMNS", None)
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.DEVNULL,
        stderr=child,
        stdin=child,
        env=environment,
    )
    os.close(child)
    written = b""
    while True:
        try:
            block = os.read(parent, 4096)
        except OSError:  # the other side is closed
            break
        if not block:
            break
        written += block
    os.close(parent)
    assert process.wait() == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written.decode())
    return [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]


@pytest.mark.parametrize(("columns", "shown"), [(100, True), (40, False)])
def test_in_a_real_terminal(columns, shown):
    lines = lines_in_a_terminal(IN_A_TERMINAL, columns)
    assert "note: a note above the bar" in lines
    assert all(len(line) < columns for line in lines)
    assert "━" in lines[-1]
    assert "50/50 steps" in lines[-1]
    assert ("loss 1.25" in lines[-1]) == shown


def test_bars_run_beneath_what_stands_above_them():
    lines = lines_in_a_terminal(BENEATH, 100)
    bars = [n for n, line in enumerate(lines) if "━" in line]
    assert {lines[n].split()[0] for n in bars} == {"train", "decode"}
    # Each is drawn right below the table, and is gone at its end.
    assert all(lines[n - 1] == "the table" for n in bars)
    assert all(line in lines for line in ("a line of train", "a line of decode"))
    assert lines[-1] == "the table"
