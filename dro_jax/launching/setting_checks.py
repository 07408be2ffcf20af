"""What targets refuse of their settings, whatever the job."""

from collections.abc import Mapping
from typing import Any

from dro_jax.errors import ConfigError
from dro_jax.launching.interface import Job


def check_least(**values: tuple[float, float]) -> None:
    """Refuses numbers that are too small.

    Args:
      values: each setting's value, and the least that it may be.

    Raises:
      ConfigError: one is less.
    """
    for name, (value, least) in values.items():
        if value < least:
            raise ConfigError(f"{name} must be at least {least}, got {value}")


def check_may_run_again(job: Job, retries: int) -> None:
    """Refuses a job that begins anew where it would be run again.

    Raises:
      ConfigError: with `--overwrite` each run would delete what the one before saved.
    """
    if retries and not job.resumes:
        raise ConfigError(
            "with --overwrite each retry would delete what the run has saved: launch it "
            "without, or with --gin.RETRIES=0"
        )


def check_not_both(**values: Any) -> None:
    """Refuses two settings that exclude one another.

    Raises:
      ConfigError: both are set.
    """
    if all(values.values()):
        raise ConfigError(
            f"{' and '.join(values)} exclude one another: set one of them"
        )


def check_environment(environment: Mapping[str, str]) -> None:
    """Refuses what are no variables.

    Raises:
      ConfigError: a name is none, or a value is no text.
    """
    for name, value in environment.items():
        if not isinstance(name, str) or not name.isidentifier():
            raise ConfigError(f"ENVIRONMENT: {name!r} is no name of a variable")
        if not isinstance(value, str):
            raise ConfigError(
                f"ENVIRONMENT: {name} is {value!r}, and variables are text: '{value}'"
            )


def check_bucket(bucket: str | None, mount: str) -> None:
    """Refuses what is no bucket's name, and a place that depends on the folder.

    Raises:
      ConfigError: it is so.
    """
    if bucket and not all(c.isalnum() or c in "-_." for c in bucket):
        raise ConfigError(
            f"BUCKET = {bucket!r}: give the bucket's name alone, without gs:// and "
            "folders; MODEL_DIR names a folder in it"
        )
    if not mount.startswith("/"):
        raise ConfigError(f"MOUNT = {mount!r}: give an absolute path")
