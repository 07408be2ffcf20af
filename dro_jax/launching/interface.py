"""What a place to run jobs is: a target."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Protocol

# The words of a command line, not yet quoted for a shell.
Words = Sequence[str]


@dataclasses.dataclass(frozen=True)
class Job:
    """What runs, the same on every host.

    Attributes:
      name: of the job, for logs and clusters: lower-case letters, digits and hyphens,
        63 of them at most.
      command: as typed on each host: `("dro-jax", "train", "--gin_file=…")`, or
        `("python", "-m", "t5x.train", …)`.
      model_dir: the run's folder; None where the command has none.
      urls: checkpoints, logs and folders of the command that are URLs.
      local_paths: those that are paths, which every host must see.
    """

    name: str
    command: Words
    model_dir: str | None = None
    urls: Sequence[str] = ()
    local_paths: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class Prepared:
    """All that a launch will do, before it does anything.

    Attributes:
      files: text of the files that it writes, by name.
      commands: what it runs, in order; empty where people run the files themselves.
      notes: what a person should know, a sentence each.
    """

    files: Mapping[str, str]
    commands: Sequence[Words]
    notes: Sequence[str] = ()


class Target(Protocol):
    """A place to run jobs; frozen dataclasses whose fields are gin's settings."""

    @property
    def topology(self) -> str | None:
        """The slice, `v5e:4x4`, for which `plan` is asked; None where it is no TPU."""

    def prepare(self, job: Job) -> Prepared:
        """What would run; touches nothing.

        Raises:
          ConfigError: a setting is missing or does not fit the job.
        """

    def launch(self, job: Job, prepared: Prepared, folder: str) -> int:
        """Runs or submits it; the files are already written.

        Args:
          job, prepared: what.
          folder: where `prepared.files` were written.

        Returns:
          A status of `dro_jax.exit_codes`; of a submitted job, whether it was taken.
        """
