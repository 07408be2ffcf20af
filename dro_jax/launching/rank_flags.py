"""The flags by which a process learns its place among those of its job."""

from dro_jax.errors import ConfigError
from dro_jax.launching.interface import Job

_T5X_TRAINER = "t5x.train"


def rank_flags(
    job: Job, coordinator: str, num_processes: int | str, process_id: int | str
) -> list[str]:
    """What is added to the job's command on one process; nothing to a worker's.

    `dro-jax` needs none on SLURM, on TPU pods and in JobSets, where it finds its place
    by itself; T5X's trainer does nowhere but on TPUs.

    Args:
      job: whose command it is.
      coordinator: `HOST:PORT` of the first process.
      num_processes: of the job; a number, or a shell's variable.
      process_id: which of them this is, from 0; the same.

    Raises:
      ConfigError: the command has no such flags.
    """
    if not job.together:
        return []
    if not job.is_t5x:
        return [
            f"--coordinator={coordinator}",
            f"--num_processes={num_processes}",
            f"--process_id={process_id}",
        ]
    if job.command[2] != _T5X_TRAINER:
        raise ConfigError(
            f"{job.command[2]} of T5X takes no coordinator, so that it runs in one process "
            "alone where there are no TPUs: launch it on one"
        )
    return [
        "--multiprocess_gpu",  # its name; it is for processes without TPUs
        f"--coordinator_address={coordinator}",
        f"--process_count={num_processes}",
        f"--process_index={process_id}",
    ]
