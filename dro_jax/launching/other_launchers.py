"""The same job as other launchers of Google's clusters take it: lines to copy."""

import shlex

from dro_jax.exit_codes import EXIT_CODES
from dro_jax.launching.interface import Job
from dro_jax.launching.slices import TpuSlice

_XPK_NAMES = {"v5e": "v5litepod"}


def xpk_line(
    job: Job, tpu_slice: TpuSlice, *, project: str, zone: str, cluster: str, image: str
) -> str:
    """xpk, which Google is retiring; 1.16 took this line."""
    name = _XPK_NAMES.get(tpu_slice.name, tpu_slice.name)
    words = [
        *("xpk", "workload", "create", f"--workload={job.name}"),
        *(f"--project={project}", f"--zone={zone}", f"--cluster={cluster}"),
        *(f"--tpu-type={name}-{tpu_slice.topology}", f"--docker-image={image}"),
        f"--restart-on-exit-codes={_retried()}",
        f"--command={shlex.join(job.command)}",
    ]
    return shlex.join(words)


def gcluster_line(
    job: Job,
    tpu_slice: TpuSlice,
    *,
    project: str,
    zone: str,
    cluster: str,
    image: str,
    chips_per_host: int | None,
    bucket: str | None,
    mount: str,
    grace_seconds: int,
) -> str:
    """Cluster Toolkit's gcluster, which takes xpk's place."""
    words = [
        *("gcluster", "job", "submit", f"--name={job.name}"),
        *(f"--project={project}", f"--location={zone}", f"--cluster={cluster}"),
        f"--compute-type={tpu_slice.machine_type(chips_per_host)}",
        *(f"--topology={tpu_slice.topology}", f"--image={image}"),
        *([f"--mount=gs://{bucket}:{mount}:rw"] if bucket else []),
        f"--grace-period={grace_seconds}s",
        f"--restart-on-exit-codes={_retried()}",
        f"--command={shlex.join(job.command)}",
    ]
    return shlex.join(words)


def _retried() -> str:
    codes = sorted(code.number for code in EXIT_CODES.values() if code.retried)
    return ",".join(map(str, codes))
