"""Jobs on TPU VMs: a queued resource of Google Cloud, by two scripts."""

import dataclasses
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence

from dro_jax import shipped_names
from dro_jax.errors import ConfigError
from dro_jax.exit_codes import FINAL, PREEMPTED, RETRIED, ExitCode
from dro_jax.launching.gke_storage import MOUNT_OPTIONS
from dro_jax.launching.interface import Job, Prepared
from dro_jax.launching.places import check_in_mounts, check_on_slice
from dro_jax.launching.run_commands import run_in_order
from dro_jax.launching.setting_checks import (
    check_bucket,
    check_environment,
    check_least,
    check_not_both,
)
from dro_jax.launching.slices import TpuSlice

_TEMPLATES = shipped_names.FOLDER / "launch" / "tpu_vm"
_SCRIPT = "tpu_vm.sh"  # runs here
_HOST_SCRIPT = "host.sh"  # runs on each host
_OF_A_PROJECT = ("pyproject.toml", "setup.py")
_WORK = "work"  # the folder of each host where the command runs


@dataclasses.dataclass(frozen=True, kw_only=True)
class TpuVm:
    """A queued resource: a slice's machines, asked for, used and deleted.

    Attributes:
      project, zone: where.
      tpu_slice: as `v5e:4x4`; of v5p, TPU VMs are asked for by size alone.
      packages: what is installed: requirements as pip reads them, or local wheels and
        folders, which are copied; both may have extras, as `.[tpu]`.
      bucket: mounted at `mount` on every host; None where the hosts mount it themselves.
      mount: the folder that all hosts share.
      retries: of an end that is retried, on the hosts; and of a slice that is preempted.
      spot: whether a Spot slice.
      reserved: whether from the project's reservation.
      keep: whether the slice stays in the end, and costs.
      runtime_version: the machines' software; None for the generation's own.
      python: the version that is installed.
      create_flags: more words for `queued-resources create`, as `--network=NAME`.
      ssh_flags: more words for `tpu-vm ssh` and `scp`, as `--internal-ip`.
      environment: variables of the command.

    Raises:
      ConfigError: settings exclude one another, or one cannot be.
    """

    project: str
    zone: str
    tpu_slice: str
    packages: Sequence[str] = ("dro-jax[tpu]",)
    bucket: str | None = None
    mount: str = "/bucket"
    retries: int = 5
    spot: bool = False
    reserved: bool = False
    keep: bool = False
    runtime_version: str | None = None
    python: str = "3.11"
    create_flags: Sequence[str] = ()
    ssh_flags: Sequence[str] = ()
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        check_least(RETRIES=(self.retries, 0))
        check_not_both(SPOT=self.spot, RESERVED=self.reserved)
        check_bucket(self.bucket, self.mount)
        check_environment(self.environment)
        if not self.packages:
            raise ConfigError(
                "PACKAGES is empty: name what the hosts install, as ['dro-jax[tpu]']"
            )

    @property
    def topology(self) -> str:
        """The slice that `plan` is asked for."""
        return self._slice.full_name

    @property
    def mounts(self) -> Sequence[str]:
        """The shared folder."""
        return (self.mount,)

    def prepare(self, job: Job, folder: str) -> Prepared:
        """Two scripts, and the line that runs the first.

        Raises:
          ConfigError: a setting is missing or does not fit the job.
        """
        self._check(job)
        if not job.resumes:
            raise ConfigError(
                "with --overwrite a script that is called again would delete what the run "
                "has saved: delete MODEL_DIR's folder first, and launch without it"
            )
        files = {
            _SCRIPT: _script("here.sh", self._settings_here(job)),
            _HOST_SCRIPT: _script("host.sh", self._settings_of_a_host(job)),
        }
        files |= {
            f"{_WORK}/{name}": text
            for name, text in job.gin_files.items()
            if not os.path.isabs(name)
        }
        script = os.path.join(folder, _SCRIPT)
        return Prepared(
            files, (("bash", script, "all"),), tuple(self._notes(job, script))
        )

    def launch(self, job: Job, prepared: Prepared, folder: str) -> int:
        """Runs the script: until the job has ended on all hosts."""
        return run_in_order(prepared.commands)

    def _check(self, job: Job) -> None:
        check_in_mounts(job, self.mounts, "tpu_vm")
        check_on_slice(job, self._slice.vm_hosts, self.bucket)

    @property
    def _slice(self) -> TpuSlice:
        return TpuSlice.of(self.tpu_slice)

    def _settings_here(self, job: Job) -> Iterator[str]:
        found = self._slice
        yield from _assigned(
            NAME=job.name,
            PROJECT=self.project,
            ZONE=self.zone,
            RUNTIME_VERSION=self.runtime_version or found.generation.runtime_version,
            HOSTS=found.vm_hosts,
            RETRIES=self.retries,
            KEEP=int(self.keep),
            POLL_SECONDS=30,
            PREEMPTED=PREEMPTED.number,
            FINAL=_numbers(FINAL),
            RETRIED=_numbers(RETRIED),
            SLICE_FLAGS=self._slice_flags(found),
            SSH_FLAGS=self.ssh_flags,
            LOCAL_PACKAGES=[path for path, _ in self._local_packages().values()],
        )

    def _slice_flags(self, found: TpuSlice) -> list[str]:
        accelerator = found.accelerator_type  # also refuses what has no TPU VMs
        flags = [f"--accelerator-type={accelerator}"]
        if found.name == "v4":
            flags = ["--type=v4", f"--topology={found.topology}"]
        flags += ["--spot"] if self.spot else []
        flags += ["--reserved"] if self.reserved else []
        return [*flags, *self.create_flags]

    def _settings_of_a_host(self, job: Job) -> Iterator[str]:
        yield from _assigned(
            COMMAND=job.command,
            RETRIES=self.retries,
            RETRIED=_numbers(RETRIED),
            PREEMPTED=PREEMPTED.number,
            PAUSE_SECONDS=10,
            PYTHON=self.python,
            PACKAGES=self._installed,
            BUCKET=self.bucket or "",
            # A job of URLs alone needs none.
            MOUNT=self.mount if self.bucket or job.local_paths else "",
            GCSFUSE_OPTIONS=[f"--{option}" for option in MOUNT_OPTIONS],
        )
        for name, value in {**self.environment, **job.environment}.items():
            yield f"export {name}={shlex.quote(value)}"

    def _local_packages(self) -> dict[str, tuple[str, str]]:
        """Path here and name there of the packages that are copied."""
        found: dict[str, tuple[str, str]] = {}
        for package in self.packages:
            path, bracket, extras = package.partition("[")
            if _is_local(package, path):
                path = os.path.abspath(os.path.expanduser(path))
                _check_package(path)
                n, name = len(found), os.path.basename(path)
                there = f"{n}-{name}" if os.path.isdir(path) else f"{n}/{name}"
                found[package] = (path, f"./packages/{there}{bracket}{extras}")
        return found

    @property
    def _installed(self) -> list[str]:
        copied = self._local_packages()
        return [copied[p][1] if p in copied else p for p in self.packages]

    def _notes(self, job: Job, script: str) -> Iterator[str]:
        yield (
            "gcloud must be logged in here (gcloud auth login), and its account may "
            "make TPUs in the project and log in to them"
        )
        yield (
            "the slice costs from when it is there until it is deleted: by the script "
            "when the job has ended, unless KEEP is set, or by its step delete"
        )
        yield f"each step by itself: bash {shlex.quote(script)}, which lists them"
        if self._slice.name == "v5p":
            yield (
                f"TPU VMs of v5p come by size: {self._slice.accelerator_type} has the "
                f"chips of {self._slice.topology}, in a shape that Google chooses"
            )
        if job.modules:
            yield f"PACKAGES must bring the modules {', '.join(job.modules)}"


def _numbers(codes: Sequence[ExitCode]) -> str:
    return " ".join(str(code.number) for code in codes)


def _is_local(package: str, path: str) -> bool:
    """As pip tells paths from names: a bare name is none, whatever folder has it."""
    if "://" in package:
        return False
    is_file = path.endswith((".whl", ".tar.gz"))
    return os.sep in path or path.startswith((".", "~")) or is_file


def _check_package(path: str) -> None:
    is_project = any(os.path.isfile(os.path.join(path, name)) for name in _OF_A_PROJECT)
    if not is_project and not os.path.isfile(path):
        raise ConfigError(
            f"PACKAGES names {path}, which is no wheel and no folder with a "
            f"{_OF_A_PROJECT[0]} in it"
        )


def _script(template: str, settings: Iterator[str]) -> str:
    body = (_TEMPLATES / template).read_text(encoding="utf-8")
    lines = ["#!/usr/bin/env bash", "set -euo pipefail", "", *settings, ""]
    return "\n".join(lines) + "\n" + body


def _assigned(**values: str | int | Sequence[str]) -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, str | int):
            yield f"{name}={shlex.quote(str(value))}"
        else:
            yield f"{name}=({shlex.join(value)})"
