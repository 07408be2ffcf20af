"""Whether all hosts see the folders and files that a job names."""

import os
import pathlib
from collections.abc import Sequence

from dro_jax.errors import ConfigError
from dro_jax.launching.interface import Job
from dro_jax.paths import is_url, is_within

# Each machine has its own of these.
_OWN_TO_A_MACHINE = ("/tmp", "/var/tmp", "/dev", "/run", "/var/run", "/proc")


def check_in_mounts(job: Job, mounts: Sequence[str], target: str) -> None:
    """Refuses paths that hosts without this machine's disks do not see.

    Args:
      job: whose `local_paths` are looked at; URLs pass.
      mounts: the folders that all hosts see.
      target: its name, for the message.

    Raises:
      ConfigError: there is one, or a gin file is named by such a path.
    """
    seen = " or ".join(mounts) or "none"
    for path in job.local_paths:
        if not is_url(path) and not is_within(path, mounts):
            what = "MODEL_DIR" if path == job.model_dir else "the command"
            raise ConfigError(
                f"{what} names {path}, which the hosts of {target} do not see: they share "
                f"{seen}. Give a folder in it"
            )
    for name in job.gin_files:
        leaves = os.path.isabs(name) or name.startswith("~")
        # A folder on the way may be missing there, even where the path comes back.
        leaves = leaves or ".." in pathlib.PurePath(name).parts
        if leaves and not is_within(name, mounts):
            raise ConfigError(
                f"--gin_file={name}: the hosts of {target} have the gin files that you "
                "name beside the command's folder: go to the folder that holds it, and "
                "name it from there"
            )


def check_on_slice(job: Job, hosts: int, bucket: str | None) -> None:
    """Refuses workers that a slice of TPUs, or its disk, has no place for.

    Args:
      job: what runs on it.
      hosts: of the slice.
      bucket: where the job's folder is, if it is in one.

    Raises:
      ConfigError: its processes must join, or the job keeps trials in the bucket.
    """
    if not job.together and hosts > 1:
        raise ConfigError(
            f"a slice of {hosts} hosts is one machine, which runs one worker of a sweep: "
            "launch it several times on slices of one host (--name), with one --storage"
        )
    if job.locks_files and bucket:
        raise ConfigError(
            "SQLite, where a sweep keeps its trials by default, locks its file, and in a "
            "bucket nothing is locked: give --storage=postgresql://USER@HOST/DATABASE"
        )


def check_not_of_one_machine(job: Job, target: str) -> None:
    """Refuses folders that every machine has for itself, as /tmp.

    Args:
      job: whose `local_paths` are looked at.
      target: its name, for the message.

    Raises:
      ConfigError: there is one.
    """
    for path in job.local_paths:
        if is_of_one_machine(path):
            what = "MODEL_DIR" if path == job.model_dir else "the command"
            raise ConfigError(
                f"{what} names {path}, of which each machine has its own: the hosts of "
                f"{target} must see one and the same folder; give one on a shared disk"
            )


def is_of_one_machine(path: str) -> bool:
    """Whether a path lies where every machine has files of its own; a URL does not."""
    return not is_url(path) and is_within(os.path.realpath(path), _OWN_TO_A_MACHINE)
