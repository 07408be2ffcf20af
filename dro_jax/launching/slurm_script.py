"""The script of a batch job of SLURM's."""

import shlex
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from dro_jax import exit_codes
from dro_jax.launching.interface import Job
from dro_jax.launching.rank_flags import rank_flags

_RETRIED = sorted(
    code.number for code in exit_codes.EXIT_CODES.values() if code.retried
)


class Parts(NamedTuple):
    """What a script is made of, beside its job.

    Attributes:
      options: of `sbatch`, one a line.
      srun: flags of `srun`.
      setup: lines before anything runs.
      prefix: words before the command.
      nodes: of the job.
      gpus: of a node.
      retries: how often the job goes on.
      path: of the script.
      logs: the folder of logs.
    """

    options: Sequence[str]
    srun: Sequence[str]
    setup: Sequence[str]
    prefix: Sequence[str]
    nodes: int
    gpus: int
    retries: int
    path: str
    logs: str


def script(job: Job, parts: Parts) -> str:
    """The whole text."""
    return "\n".join(
        (
            *_head(job, parts),
            *_variables(job, parts),
            _RUN_RANK,
            _FUNCTIONS,
            *_setup(job, parts),
            _BEFORE,
            _step(job, parts),
            _AFTER,
        )
    )


def _head(job: Job, parts: Parts) -> Iterator[str]:
    yield "#!/bin/bash"
    for option in parts.options:
        yield f"#SBATCH {option}"
    yield f"\n# The job {job.name}, written by `dro-jax launch slurm`. It runs by"
    yield f"#   sbatch {shlex.quote(parts.path)}"
    yield "# and submitted anew goes on from where its run was saved."


def _variables(job: Job, parts: Parts) -> Iterator[str]:
    for name, value in job.environment.items():
        own = '"${PYTHONPATH:+:$PYTHONPATH}"' if name == "PYTHONPATH" else ""
        yield f"export {name}={shlex.quote(value)}{own}"
    if job.is_t5x and parts.gpus:
        numbers = ",".join(map(str, range(parts.gpus)))
        yield "# T5X's process has all GPUs of its node; JAX would take one."
        yield f"export JAX_LOCAL_DEVICE_IDS={numbers}"
    yield f"retries={parts.retries}"
    yield f"export RANK_LOGS={shlex.quote(parts.logs)}"


# What each process of the step does; its output is a line for the batch script, which
# `srun` carries there whatever disks are shared.
_RUN_RANK = """\

# What a node runs: the command, with a log of its own, then a line of how it ended.
# SLURM sends a signal to all processes of a step: this shell outlives it.
run_rank='
trap : TERM
"$@" </dev/null >>"$RANK_LOGS/${SLURM_JOB_ID}_rank_$SLURM_PROCID.log" 2>&1
status=$?
echo "rank $SLURM_PROCID on $SLURMD_NODENAME: $status"
exit "$status"
'"""

_FUNCTIONS = f"""
say() {{ echo "$(date '+%F %T') $*"; }}

# The step's status from its processes' ($ended) and srun's own ($1), which is the
# highest: one that is not retried outranks those that are.
status_of_all() {{
  local status
  for status in {" ".join(str(code.number) for code in exit_codes.FINAL)}; do
    if grep -q ": $status\\$" "$ended"; then echo "$status"; return; fi
  done
  status=$(sed 's/.*: //' "$ended" | grep -vxE '0|{"|".join(map(str, _RETRIED))}' | head -n 1)
  echo "${{status:-$1}}"
}}

# Whether another start is due: not where SLURM has put the job back into its queue
# itself, or somebody has cancelled it.
goes_on() {{
  case $status in {"|".join(map(str, _RETRIED))}) ;; *) return 1 ;; esac
  if [ "$(squeue --noheader --format=%T --jobs="$SLURM_JOB_ID")" != RUNNING ]; then
    say "SLURM itself ends this start of the job"
    return 1
  fi
  if [ "$restarts" -ge "$retries" ]; then
    say "this was start $((restarts + 1)), and RETRIES is $retries: not again"
    return 1
  fi
}}

# SIGTERM comes here before the time limit, and is handed on to the processes. Not by
# srun: it would kill them at once.
stopped=
stop() {{
  stopped=1
  say "SIGTERM: the processes are told to save"
  scancel --signal=TERM "$SLURM_JOB_ID" || :
}}
trap stop TERM

# Sets status to that of a process; `wait` is left at a signal that has a trap.
wait_for() {{
  while :; do
    stopped=
    wait "$1"
    status=$?
    if [ -z "$stopped" ]; then break; fi
  done
}}
"""

_BEFORE = """\
restarts=${SLURM_RESTART_COUNT:-0}
ended=$(mktemp)
say "start $((restarts + 1)) on $SLURM_JOB_NODELIST"
status=143
if [ -z "$stopped" ]; then"""

_AFTER = """\
  wait_for $!
  sort "$ended"
  status=$(status_of_all "$status")
fi
rm -f "$ended"
say "status $status"
if goes_on; then
  trap '' TERM
  say "goes on: restart $((restarts + 1)) of $retries"
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
"""


def _setup(job: Job, parts: Parts) -> Iterator[str]:
    if parts.setup:
        yield "set -e"
        yield from parts.setup
        yield "set +e\n"
    if job.is_t5x and parts.nodes > 1:
        yield "# T5X is told its place; others find theirs."
        yield 'first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)'
        yield "export COORDINATOR=$first:$((61440 + SLURM_JOB_ID % 4096))\n"


def _step(job: Job, parts: Parts) -> str:
    words = [shlex.quote(word) for word in (*parts.prefix, *job.command)]
    if job.is_t5x and parts.nodes > 1:
        flags = rank_flags(job, "$COORDINATOR", "$SLURM_NTASKS", "$SLURM_PROCID")
        # Each process's own shell puts in its number.
        with_flags = " ".join(['"$@"', *(f'"{flag}"' for flag in flags)])
        words = ["bash", "-c", shlex.quote(with_flags), "rank", *words]
    lines = [
        f"srun {shlex.join(parts.srun)}",
        f'bash -c "$run_rank" {shlex.quote(job.name)}',
        *_lines(words),
        '>"$ended" &',
    ]
    return "  " + " \\\n    ".join(lines)


def _lines(words: Sequence[str]) -> Iterator[str]:
    """Words on lines that people can read."""
    line = ""
    for word in words:
        if line and len(line) + len(word) > 80:
            yield line
            line = ""
        line = f"{line} {word}".strip()
    yield line


def pattern(path: str) -> str:
    """A path where SLURM looks for `%j` and the like, quoted."""
    return shlex.quote(path.replace("%", "%%"))
