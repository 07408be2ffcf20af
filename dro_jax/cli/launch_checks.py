"""What a launch looks up first by other programs, since it takes long.

The name of the task, which takes whatever its modules import, and whether the run fits
its slice, which takes a compiler minutes.
"""

import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence

from dro_jax.cli.configuration_diff import Configuration
from dro_jax.data.modules import module_names
from dro_jax.errors import ConfigError
from dro_jax.exit_codes import EXIT_CODES, REFUSED, shell_status
from dro_jax.launching.interface import Job
from dro_jax.messages import say

_GIN_FLAGS = ("--gin_file", "--gin_search_paths", "--allow_import")
_LOOK_UP = ("python", "-m", "dro_jax.cli.look_up_task")
_OURS = (sys.executable, "-P", "-m", "dro_jax.cli.main")
_INSTEAD = "or launch with --no_plan, which leaves this out"


def checks_of(
    job: Job, configuration: Configuration | None, topology: str | None
) -> list[list[str]]:
    """The commands that look up what a job needs.

    Args:
      job: what is launched.
      configuration: of its gin files, where they were all read.
      topology: the slice of the target, or None.
    """
    found = [] if configuration is None else [*_look_ups(configuration)]
    if topology is not None and tuple(job.command[:2]) == ("dro-jax", "train"):
        flags = _gin_flags(job.command[2:])
        found.append(["dro-jax", "plan", f"--topology={topology}", *flags])
    return found


def _look_ups(configuration: Configuration) -> Iterator[list[str]]:
    name, modules = (
        configuration.filled_in(configuration.macros.get(name))
        for name in ("MIXTURE_OR_TASK_NAME", "MIXTURE_OR_TASK_MODULE")
    )
    if isinstance(name, str) and isinstance(modules, str | tuple | list):
        yield [*_LOOK_UP, name, *module_names(modules)]


def _gin_flags(flags: Sequence[str]) -> Iterator[str]:
    value_follows = False
    for flag in flags:
        name, equals, _ = flag.partition("=")
        is_wanted = name in _GIN_FLAGS
        if value_follows or is_wanted or name.startswith("--gin."):
            yield flag
        value_follows = is_wanted and not equals and not value_follows


def run_checks(checks: Sequence[Sequence[str]]) -> None:
    """Runs them, each with its time.

    Raises:
      ConfigError: there is no such task, or the run does not fit, or that cannot be
        known here.
    """
    for words in checks:
        say(f"$ {shlex.join(words)}")
        begun = time.monotonic()
        (_check_plan if words[0] == "dro-jax" else _check_task)(words)
        say(f"  … yes ({time.monotonic() - begun:.0f} s)")


def _check_task(words: Sequence[str]) -> None:
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3"}  # notes of TensorFlow, if it is imported
    program = [sys.executable, "-P", *words[1:]]
    done = subprocess.run(program, env=os.environ | quiet, check=False)
    if done.returncode == REFUSED.number:
        raise ConfigError("the run's task cannot be found: see above")
    if done.returncode:
        raise ConfigError(
            "the modules of the run's task cannot be imported here (see above): install "
            f"what they need, {_INSTEAD}"
        )


def _check_plan(words: Sequence[str]) -> None:
    say(
        "  whether the run fits its slice; this takes minutes, and --no_plan skips it …"
    )
    with tempfile.TemporaryDirectory() as folder:
        report = os.path.join(folder, "plan.json")
        done = subprocess.run(
            [*_OURS, *words[1:], f"--json={report}"],
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        fits = None
        if os.path.exists(report):
            with open(report, encoding="utf-8") as file:
                fits = json.load(file)["fits"]
    if fits is None:
        status = shell_status(done.returncode)
        ended = EXIT_CODES[status].name if status in EXIT_CODES else status
        raise ConfigError(
            "dro-jax plan could not tell whether the run fits its slice (its message is "
            f"above; it ended as {ended}): mend that, {_INSTEAD}"
        )
    if not fits:
        raise ConfigError(
            f"the run does not fit its slice:\n{done.stdout.strip()}\nChange it as said "
            f"above, take another slice, {_INSTEAD}"
        )
