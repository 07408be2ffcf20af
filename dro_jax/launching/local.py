"""The target `local`: processes on this machine, each as a host of its own."""

import dataclasses
import os
import socket
import sys
from collections.abc import Mapping

from dro_jax.errors import ConfigError
from dro_jax.launching.gpus import jax_uses_gpus, visible_gpus
from dro_jax.launching.interface import Job, Prepared
from dro_jax.launching.local_run import Rank, run_with_retries
from dro_jax.launching.rank_flags import rank_flags
from dro_jax.launching.setting_checks import check_least, check_may_run_again

_LOOPBACK = "127.0.0.1"
_PROGRAMS = {
    # As the script does, it looks for no modules in the current folder.
    "dro-jax": (sys.executable, "-P", "-m", "dro_jax.cli.main"),
    "python": (sys.executable,),
}
_HOST_DEVICES = "--xla_force_host_platform_device_count"


@dataclasses.dataclass(frozen=True)
class Local:
    """Processes of this machine that find each other over its loopback interface.

    Attributes:
      num_processes: how many.
      devices_per_process: of each.
      platform: 'cpu', 'gpu', or None for GPUs where there are any.
      retries: how often the command runs again after an end that is retried.
      grace_seconds: the time that the others have to end once one has failed, and again
        between SIGTERM and SIGKILL.
      port: of the coordinator; None takes a free one.

    Raises:
      ConfigError: a number is out of range, or there is no such platform.
    """

    num_processes: int = 2
    devices_per_process: int = 1
    platform: str | None = None
    retries: int = 0
    grace_seconds: float = 30
    port: int | None = None

    topology = None
    mounts = ()

    def __post_init__(self):
        check_least(
            NUM_PROCESSES=(self.num_processes, 1),
            DEVICES_PER_PROCESS=(self.devices_per_process, 1),
            RETRIES=(self.retries, 0),
            GRACE_SECONDS=(self.grace_seconds, 0),
        )
        if self.platform not in (None, "cpu", "gpu"):
            raise ConfigError(
                f"PLATFORM = {self.platform!r}: give 'cpu', 'gpu', or None for GPUs where "
                "there are any"
            )

    def prepare(self, job: Job, folder: str) -> Prepared:
        """A command for each process; no files."""
        del folder
        check_may_run_again(job, self.retries)
        port = self.port or _free_port()
        environments = self._environments(job)
        return Prepared(
            files={},
            commands=[
                ["env", *(f"{k}={v}" for k, v in added.items()), *words]
                for added, words in zip(
                    environments, self._words(job, port), strict=True
                )
            ],
        )

    def launch(self, job: Job, prepared: Prepared, folder: str) -> int:
        """Runs the processes until all have ended."""
        del prepared  # a retry takes another port
        environments = self._environments(job)

        def ranks() -> list[Rank]:
            words = self._words(job, self.port or _free_port())
            return [
                Rank(number, words[number], os.environ | environments[number])
                for number in range(self.num_processes)
            ]

        return run_with_retries(
            ranks,
            os.path.join(folder, "logs"),
            retries=self.retries,
            grace_seconds=self.grace_seconds,
            together=job.together,
        )

    def _words(self, job: Job, port: int) -> list[list[str]]:
        program, *flags = job.command
        words = [*_PROGRAMS.get(program, (program,)), *flags]
        if self.num_processes == 1:
            return [words]
        coordinator = f"{_LOOPBACK}:{port}"
        return [
            [*words, *rank_flags(job, coordinator, self.num_processes, number)]
            for number in range(self.num_processes)
        ]

    def _environments(self, job: Job) -> list[Mapping[str, str]]:
        """What each process's environment has beside this one's."""
        shared = dict(job.environment)
        if "PYTHONPATH" in shared and (own := os.environ.get("PYTHONPATH")):
            shared["PYTHONPATH"] += os.pathsep + own
        gpus = [] if self.platform == "cpu" else visible_gpus()
        if self.platform is None and not jax_uses_gpus():
            gpus = []
        if not gpus and self.platform != "gpu":
            flags = os.environ.get("XLA_FLAGS", "").split()
            flags = [flag for flag in flags if not flag.startswith(_HOST_DEVICES)]
            flags.append(f"{_HOST_DEVICES}={self.devices_per_process}")
            on_cpu = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": " ".join(flags)}
            return [shared | on_cpu] * self.num_processes
        each, wanted = self.devices_per_process, self.devices_per_process
        wanted *= self.num_processes
        if wanted > len(gpus):
            raise ConfigError(
                f"NUM_PROCESSES × DEVICES_PER_PROCESS is {wanted}, and this machine has "
                f"{len(gpus)} GPUs: take fewer, or --gin.PLATFORM=cpu"
            )
        return [
            shared | {"CUDA_VISIBLE_DEVICES": ",".join(gpus[n * each : (n + 1) * each])}
            for n in range(self.num_processes)
        ]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        return probe.getsockname()[1]
