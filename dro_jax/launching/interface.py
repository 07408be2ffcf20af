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
        beginning with a letter, 40 of them at most.
      command: as typed on each host: `("dro-jax", "train", "--gin_file=…")`, or
        `("python", "-m", "t5x.train", …)`.
      environment: variables that the command needs beside the host's own.
      model_dir: the folder that all hosts write to; None where the command has none.
      urls: checkpoints, logs and folders of the command that are URLs.
      local_paths: those that are paths, which every host must see; `model_dir` too.
      gin_files: text of the command's own gin files, by the name in which it names them
        (those that dro-jax ships are on every host); a host that does not share this
        disk needs them under these names in the folder where the command runs.
      modules: Python modules of the person's own that the command imports.
      resumes: whether the same command may run again after an end that is retried: it
        goes on from where the run was saved, or begins anew. Not with `--overwrite`,
        which would delete what was saved.
      together: whether its processes join as one run. Those of a sweep are workers, each
        on its own devices, that meet on the trials' storage alone.
      locks_files: whether it locks files in its folder, as SQLite does; buckets cannot.
    """

    name: str
    command: Words
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    model_dir: str | None = None
    urls: Sequence[str] = ()
    local_paths: Sequence[str] = ()
    gin_files: Mapping[str, str] = dataclasses.field(default_factory=dict)
    modules: Sequence[str] = ()
    resumes: bool = False
    together: bool = True
    locks_files: bool = False

    @property
    def is_t5x(self) -> bool:
        """Whether T5X's own programs run, which do not look for their coordinator."""
        return tuple(self.command[:2]) == ("python", "-m")


@dataclasses.dataclass(frozen=True)
class Prepared:
    """All that a launch will do, before it does anything.

    Attributes:
      files: text of the files that it writes, by name; those named `.sh` may be run.
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
        """The slice for which `plan` is asked, by its name; None where it is no TPU."""

    @property
    def mounts(self) -> Sequence[str]:
        """Folders that the hosts see and this machine need not, as `/bucket`.

        Paths in them are not looked for here.
        """

    def prepare(self, job: Job, folder: str) -> Prepared:
        """What would run; touches nothing.

        Args:
          job: what.
          folder: an absolute path, where the files would be written.

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
