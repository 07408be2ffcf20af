"""Whether a run fits the slice that it is launched on: `dro-jax plan`, asked first."""

import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

from dro_jax.errors import ConfigError
from dro_jax.launching.interface import Job
from dro_jax.messages import say

_GIN_FLAGS = ("--gin_file", "--gin_search_paths", "--allow_import")
_INSTEAD = "or launch with --no_plan"


def plan_words(job: Job, topology: str | None) -> list[str] | None:
    """The command that plans a job's run; None where it trains none of ours on a slice."""
    if topology is None or tuple(job.command[:2]) != ("dro-jax", "train"):
        return None
    flags = [*_gin_flags(job.command[2:])]
    return ["dro-jax", "plan", f"--topology={topology}", *flags]


def _gin_flags(flags: Sequence[str]):
    value_follows = False
    for flag in flags:
        name, equals, _ = flag.partition("=")
        if value_follows or name in _GIN_FLAGS or name.startswith("--gin."):
            yield flag
            value_follows = name in _GIN_FLAGS and not equals and not value_follows


def check_plan(words: Sequence[str]) -> None:
    """Asks the compiler, which takes minutes.

    Raises:
      ConfigError: the run does not fit, or that cannot be known here.
    """
    say(f"$ {shlex.join(words)}")
    say("whether the run fits its slice; this takes minutes, --no_plan leaves it out …")
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = os.path.join(folder, "plan.json")
        done = subprocess.run(
            [sys.executable, "-m", "dro_jax.cli.main", *words[1:], "--json", report],
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        fits = None
        if os.path.exists(report):
            with open(report, encoding="utf-8") as file:
                fits = json.load(file)["fits"]
    if fits is None:
        raise ConfigError(
            "dro-jax plan could not tell whether the run fits its slice (its message is "
            f"above): mend that, {_INSTEAD}"
        )
    if not fits:
        raise ConfigError(
            f"the run does not fit its slice:\n{done.stdout.strip()}\nChange it (dro-jax "
            f"plan --search tries what helps), take another slice, {_INSTEAD}"
        )
    say(f"it fits ({time.monotonic() - begun:.0f} s)")
