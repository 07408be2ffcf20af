"""How a process of a run ends, as a number that launchers read.

A signal's code is what a shell reports: 128 + its number.
"""

import dataclasses
import signal


@dataclasses.dataclass(frozen=True)
class ExitCode:
    """A way to end.

    Attributes:
      number: the process's status.
      name: one word.
      meaning: what happened.
      retried: whether the same command may go on from where the run was saved.
    """

    number: int
    name: str
    meaning: str
    retried: bool


DONE = ExitCode(0, "done", "the command did what it was told", False)
CRASHED = ExitCode(1, "crashed", "an error that is not the user's", False)
REFUSED = ExitCode(2, "refused", "a setting, file or record cannot be used", False)
INTERRUPTED = ExitCode(128 + signal.SIGINT, "interrupted", "Ctrl-C", False)
ABORTED = ExitCode(
    128 + signal.SIGABRT, "aborted", "another process of the run went away", True
)
KILLED = ExitCode(
    128 + signal.SIGKILL, "killed", "SIGKILL: out of memory, or by the launcher", True
)
UNREAD = ExitCode(128 + signal.SIGPIPE, "unread", "nobody reads the output", False)
STUCK = ExitCode(
    128 + signal.SIGALRM, "stuck", "the watchdog: no step for WATCHDOG_SECONDS", True
)
PREEMPTED = ExitCode(
    128 + signal.SIGTERM, "preempted", "SIGTERM: the state is saved", True
)

EXIT_CODES = {
    code.number: code
    for code in (
        DONE,
        CRASHED,
        REFUSED,
        INTERRUPTED,
        ABORTED,
        KILLED,
        UNREAD,
        STUCK,
        PREEMPTED,
    )
}

# Of the codes of a job's processes, the first that one has is the job's: of these, then
# any that is in neither list, then of those that are retried.
FINAL = (REFUSED, INTERRUPTED, CRASHED)
RETRIED = (STUCK, PREEMPTED, ABORTED, KILLED)


def shell_status(returncode: int) -> int:
    """The status that a shell reports of a `subprocess` return code.

    Args:
      returncode: as `subprocess.Popen` gives it: minus a signal's number.
    """
    return returncode if returncode >= 0 else 128 - returncode


def of_all(statuses: list[int]) -> int:
    """One status for a job from those of its processes.

    A refusal outranks what it makes of its peers (aborted, crashed); then an interrupt,
    a crash, any other that is not retried, and what may be; done is only where all are.
    """
    final, retried = ([code.number for code in codes] for codes in (FINAL, RETRIED))
    others = [n for n in statuses if n not in (DONE.number, *final, *retried)]
    ranks = (*final, *others, *retried)
    return next((number for number in ranks if number in statuses), DONE.number)
