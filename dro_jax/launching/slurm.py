"""The target `slurm`: a batch job of a SLURM cluster, one process a node."""

import dataclasses
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Sequence

from dro_jax.errors import ConfigError
from dro_jax.exit_codes import DONE
from dro_jax.launching.interface import Job, Prepared
from dro_jax.launching.places import check_not_of_one_machine, is_of_one_machine
from dro_jax.launching.run_commands import run_in_order
from dro_jax.launching.setting_checks import check_may_run_again
from dro_jax.launching.slurm_script import Parts, pattern, script
from dro_jax.launching.slurm_time import seconds_of
from dro_jax.paths import is_within, make_folder

_SCRIPT = "job.sbatch"
_LOGS = "logs"
_TEXTS = ("partition", "account", "qos", "gpu_type", "memory", "time_limit")
_LISTS = ("setup", "command_prefix", "sbatch_flags", "srun_flags", "shared_folders")


@dataclasses.dataclass(frozen=True)
class Slurm:
    """A batch job that goes on after preemption and at its time limit.

    Attributes:
      nodes: of the job; each runs one process, which has all of the node's GPUs.
      partition, account, qos: as `sbatch` takes them; None leaves it to the cluster.
      gpus_per_node: 0 asks for none.
      gpu_type: as the cluster calls it, `a100`; None takes any.
      cpus_per_node: None leaves it to the cluster.
      memory: of a node, `200G`; '0' is all of it, None leaves it to the cluster.
      time_limit: of one start, as `sbatch` takes it; None is the partition's.
      lead_seconds: the run is told to save so long before the time limit.
      retries: how often the job goes on after an end that is retried.
      exit_seconds: once one process has ended, what the others have to end.
      setup: lines of the shell before anything runs, as `module load cuda`.
      command_prefix: words before the command, as `("apptainer", "exec", "IMAGE")`.
      sbatch_flags, srun_flags: further ones, as `--exclusive`.
      shared_folders: those that all nodes see, though most machines have them for
        themselves, as `/tmp`.

    Raises:
      ConfigError: a number is out of range, a text has several lines, or the time limit
        is no longer than the lead.
    """

    nodes: int
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    gpus_per_node: int = 0
    gpu_type: str | None = None
    cpus_per_node: int | None = None
    memory: str | None = "0"
    time_limit: str | None = None
    lead_seconds: int = 300
    retries: int = 10
    exit_seconds: int = 300
    setup: Sequence[str] = ()
    command_prefix: Sequence[str] = ()
    sbatch_flags: Sequence[str] = ()
    srun_flags: Sequence[str] = ()
    shared_folders: Sequence[str] = ()

    topology = None
    mounts = ()

    def __post_init__(self):
        for name, least, most in (
            ("nodes", 1, 65535),
            ("gpus_per_node", 0, 1024),
            ("cpus_per_node", 1, 65535),
            ("lead_seconds", 0, 65535),  # sbatch takes no more
            ("retries", 0, 1 << 31),
            ("exit_seconds", 1, 65533),  # srun neither
        ):
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise ConfigError(
                    f"{name.upper()} must be between {least} and {most}, got {value}"
                )
        for name in _TEXTS:
            self._check_lines(name, [getattr(self, name)])
        for name in _LISTS:
            self._check_lines(name, getattr(self, name))
        limit = seconds_of(self.time_limit) if self.time_limit else 0
        if limit and limit <= self.lead_seconds:
            raise ConfigError(
                f"TIME_LIMIT = {self.time_limit!r} is {limit} seconds, and the run is told "
                f"to save LEAD_SECONDS = {self.lead_seconds} before its end: it would "
                "never train. Give a longer limit or a shorter lead"
            )

    def _check_lines(self, name: str, texts: Sequence[str | None]) -> None:
        if isinstance(texts, str):
            raise ConfigError(
                f"{name.upper()} = {texts!r} is one text: give a list, [{texts!r}]"
            )
        for text in texts:
            if text is not None and (not text.strip() or "\n" in text):
                raise ConfigError(
                    f"{name.upper()}: {text!r} must be one line, and not empty"
                )

    def prepare(self, job: Job, folder: str) -> Prepared:
        """The script, and the line that submits it."""
        self._check_folders(job, folder)
        check_may_run_again(job, self.retries)
        path, logs = os.path.join(folder, _SCRIPT), os.path.join(folder, _LOGS)
        parts = Parts(
            options=[*self._options(job.name, logs)],
            srun=[*self._srun()],
            setup=self.setup,
            prefix=self.command_prefix,
            nodes=self.nodes,
            gpus=self.gpus_per_node,
            retries=self.retries,
            path=path,
            logs=logs,
        )
        return Prepared(
            files={_SCRIPT: script(job, parts)},
            commands=[["sbatch", path]],
            notes=[
                *self._partition_notes(),
                f"logs: {logs}/JOB.log, and of each process JOB_rank_N.log beside it",
                "`squeue --me` shows the job, `scancel JOB` ends it",
                *self._storage_notes(job),
            ],
        )

    def _storage_notes(self, job: Job) -> list[str]:
        if not job.locks_files or self.nodes == 1:
            return []
        note = (
            f"{self.nodes} workers keep their trials in SQLite's file on a disk that nodes "
            "share, which must lock files (NFS 4 does; some parallel file systems do not, "
            "or only where they are mounted so): --storage=postgresql://… needs no such"
        )
        return [note]

    def launch(self, job: Job, prepared: Prepared, folder: str) -> int:
        """Submits the script.

        Raises:
          ConfigError: SLURM is not installed here, or does not take the job.
        """
        del job
        # SLURM makes no folders: a job whose log cannot be opened ends without a word.
        make_folder(os.path.join(folder, _LOGS), "--launch_dir")
        if status := run_in_order(prepared.commands):
            raise ConfigError(
                f"sbatch did not take the job (status {status}): its reason is above; "
                "docs/launch_slurm.md says what to do"
            )
        return DONE.number

    def _options(self, name: str, logs: str) -> Iterator[str]:
        """Of `sbatch`, as the script's first lines have them."""
        yield f"--job-name={name}"
        for flag, value in (
            ("partition", self.partition),
            ("account", self.account),
            ("qos", self.qos),
            ("nodes", self.nodes),
            ("ntasks-per-node", 1),
            ("cpus-per-task", self.cpus_per_node),
            ("mem", self.memory),
            ("gres", self._gres()),
            ("time", self.time_limit),
        ):
            if value is not None:
                yield f"--{flag}={shlex.quote(str(value))}"
        if self.lead_seconds:
            yield f"--signal=B:TERM@{self.lead_seconds}"
        # Of several starts, one log.
        yield "--requeue" if self.retries else "--no-requeue"
        yield "--open-mode=append"
        yield f"--output={pattern(logs)}/%j.log"
        yield f"--chdir={shlex.quote(os.getcwd())}"
        yield from self.sbatch_flags

    def _gres(self) -> str | None:
        if not self.gpus_per_node:
            return None
        kind = f":{self.gpu_type}" if self.gpu_type else ""
        return f"gpu{kind}:{self.gpus_per_node}"

    def _srun(self) -> Iterator[str]:
        yield f"--nodes={self.nodes}"
        yield f"--ntasks={self.nodes}"
        yield "--ntasks-per-node=1"
        if self.cpus_per_node is not None:  # newer versions do not take over sbatch's
            yield f"--cpus-per-task={self.cpus_per_node}"
        # Others may still be saving when the first has ended; one that stands still is
        # killed after a while.
        yield "--kill-on-bad-exit=0"
        yield f"--wait={self.exit_seconds}"
        yield from self.srun_flags

    def _check_folders(self, job: Job, folder: str) -> None:
        others = [
            path for path in job.local_paths if not is_within(path, self.shared_folders)
        ]
        check_not_of_one_machine(dataclasses.replace(job, local_paths=others), "SLURM")
        for name, path in (
            ("--launch_dir", folder),
            ("the current folder", os.getcwd()),
        ):
            if is_of_one_machine(path) and not is_within(path, self.shared_folders):
                raise ConfigError(
                    f"{name} is {path}, of which each machine has its own: the nodes must "
                    "see it; go to a folder on a shared disk, or name this one in "
                    "SHARED_FOLDERS if they do"
                )

    def _partition_notes(self) -> list[str]:
        """Whether the cluster has such a partition, where it can be asked."""
        if self.partition is None or shutil.which("sinfo") is None:
            return []
        try:
            listed = subprocess.run(
                ["sinfo", "--noheader", "--format=%R"],
                capture_output=True,
                text=True,
                check=True,
                timeout=20,
            )
        except (OSError, subprocess.SubprocessError):
            return ["sinfo gives no answer, so that the partition is not checked"]
        known = sorted(set(listed.stdout.split()))
        missing = set(self.partition.split(",")) - set(known)
        return [
            f"this cluster has no partition {name}: its partitions are "
            f"{', '.join(known) or 'none'}"
            for name in sorted(missing)
        ]
