"""Jobs on Google's Kubernetes Engine: one JobSet on one slice of TPUs."""

import dataclasses
import os
import shlex
from collections.abc import Mapping, Sequence

from dro_jax.errors import ConfigError
from dro_jax.exit_codes import DONE
from dro_jax.launching.gke_pod import CONTAINER, pod_template
from dro_jax.launching.gke_storage import Manifest, SharedDisk, config_map
from dro_jax.launching.interface import Job, Prepared
from dro_jax.launching.jobset import job_set
from dro_jax.launching.other_launchers import gcluster_line, xpk_line
from dro_jax.launching.places import check_in_mounts, check_on_slice
from dro_jax.launching.run_commands import run_in_order
from dro_jax.launching.setting_checks import (
    check_bucket,
    check_environment,
    check_least,
    check_may_run_again,
    check_not_both,
)
from dro_jax.launching.slices import TpuSlice
from dro_jax.launching.yaml_text import as_yaml

_SPOT = "cloud.google.com/gke-spot"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gke:
    """A cluster with node pools of TPUs, JobSet and, for queues, Kueue.

    Attributes:
      project, zone, cluster: where it is; the zone may be a region.
      tpu_slice: as `v5e:4x4`.
      image: of launch/Dockerfile, or one that has dro-jax on PATH.
      bucket: mounted at `mount` on every host; None for `claim`.
      claim: an existing claim on another disk that hosts share, as Filestore's.
      mount: the folder.
      queue: Kueue's local queue; None where Kueue is not used.
      namespace: Kubernetes' own.
      service_account: Kubernetes' own, which may use the bucket; None: the default.
      retries: restarts after an end that is retried; preemptions are not counted.
      grace_seconds: between SIGTERM and SIGKILL.
      chips_per_host: of the node pool; None: 4, or the single one of a 1x1.
      spot: whether on Spot nodes.
      reservation: by name; None for none.
      environment: variables of the command.

    Raises:
      ConfigError: settings exclude one another, or one cannot be.
    """

    project: str
    zone: str
    cluster: str
    tpu_slice: str
    image: str
    bucket: str | None = None
    claim: str | None = None
    mount: str = "/bucket"
    queue: str | None = None
    namespace: str = "default"
    service_account: str | None = None
    retries: int = 5
    grace_seconds: int = 300
    chips_per_host: int | None = None
    spot: bool = False
    reservation: str | None = None
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        check_least(RETRIES=(self.retries, 0), GRACE_SECONDS=(self.grace_seconds, 1))
        check_not_both(BUCKET=self.bucket, CLAIM=self.claim)
        check_not_both(SPOT=self.spot, RESERVATION=self.reservation)
        check_bucket(self.bucket, self.mount)
        check_environment(self.environment)

    @property
    def topology(self) -> str:
        """The slice that `plan` is asked for."""
        return self._slice.full_name

    @property
    def mounts(self) -> Sequence[str]:
        """The shared disk."""
        return (self.mount,) if self.bucket or self.claim else ()

    def prepare(self, job: Job, folder: str) -> Prepared:
        """The manifest, and the line that submits it.

        Raises:
          ConfigError: a setting is missing or does not fit the job.
        """
        self._check(job)
        check_may_run_again(job, self.retries)
        name = f"{job.name}.yaml"
        apply = (*self._kubectl, "apply", f"--filename={os.path.join(folder, name)}")
        return Prepared(
            {name: as_yaml(self._manifests(job))}, (apply,), tuple(self._notes(job))
        )

    def launch(self, job: Job, prepared: Prepared, folder: str) -> int:
        """Submits it.

        Raises:
          ConfigError: kubectl is not installed here, or the cluster does not take it.
        """
        if status := run_in_order(prepared.commands):
            raise ConfigError(
                f"kubectl did not submit the job (status {status}): its reason is above; "
                "docs/launch_gke.md says what to do"
            )
        return DONE.number

    def _check(self, job: Job) -> None:
        if not self.mounts and job.local_paths:
            raise ConfigError(
                f"a pod's own disk goes with it, and {job.local_paths[0]} would: set "
                "BUCKET, which every host then sees under MOUNT"
            )
        check_in_mounts(job, self.mounts, "gke")
        check_on_slice(job, self._hosts, self.bucket)

    @property
    def _slice(self) -> TpuSlice:
        return TpuSlice.of(self.tpu_slice)

    @property
    def _hosts(self) -> int:
        return self._slice.hosts(self.chips_per_host)

    @property
    def _kubectl(self) -> tuple[str, ...]:
        # As `get-credentials` calls it: not the cluster that kubectl happens to be at.
        context = f"gke_{self.project}_{self.zone}_{self.cluster}"
        return ("kubectl", f"--context={context}", f"--namespace={self.namespace}")

    def _manifests(self, job: Job) -> list[Manifest]:
        disk = self._disk
        pod = pod_template(
            job,
            self._slice,
            disk,
            image=self.image,
            chips=self._slice.chips // self._hosts,
            environment=self.environment,
            grace_seconds=self.grace_seconds,
            selector=self._selector,
            tolerations=[_spot_toleration()] if self.spot else [],
            service_account=self.service_account,
        )
        files = config_map(job, self.namespace)
        return [
            *(disk.manifests if disk else ()),
            *([files] if files else ()),
            job_set(
                job,
                pod,
                hosts=self._hosts,
                namespace=self.namespace,
                labels=self._labels,
                retries=self.retries,
            ),
        ]

    @property
    def _disk(self) -> SharedDisk | None:
        if self.bucket:
            return SharedDisk.of_bucket(self.bucket, self.mount, self.namespace)
        return SharedDisk(self.claim, self.mount) if self.claim else None

    @property
    def _labels(self) -> dict[str, str]:
        return {"kueue.x-k8s.io/queue-name": self.queue} if self.queue else {}

    @property
    def _selector(self) -> dict[str, str]:
        if self.spot:
            return {_SPOT: "true"}
        if self.reservation:
            return {"cloud.google.com/reservation-name": self.reservation}
        return {}

    def _notes(self, job: Job) -> list[str]:
        kubectl = shlex.join(self._kubectl)
        place = {"project": self.project, "zone": self.zone, "cluster": self.cluster}
        credentials = shlex.join(
            [
                *("gcloud", "container", "clusters", "get-credentials", self.cluster),
                *(f"--project={self.project}", f"--location={self.zone}"),
            ]
        )
        xpk = xpk_line(job, self._slice, image=self.image, **place)
        label = f"--selector=jobset.sigs.k8s.io/jobset-name={job.name}"
        logs = (
            f"{kubectl} logs {label} --follow --prefix --tail=-1 "
            f"--container={CONTAINER} --max-log-requests={self._hosts}"
        )
        return [
            f"kubectl learns of the cluster by: {credentials}",
            f"how it goes: {kubectl} get jobset {job.name}; {kubectl} get pods {label}",
            f"logs by host: {logs}",
            f"to end it, or to launch it anew: {kubectl} delete jobset {job.name}",
            *self._needs(job),
            f"the same by gcluster: {self._gcluster(job, place)}",
            f"the same by xpk, which mounts no bucket so: {xpk}",
        ]

    def _gcluster(self, job: Job, place: Mapping[str, str]) -> str:
        return gcluster_line(
            job,
            self._slice,
            image=self.image,
            chips_per_host=self.chips_per_host,
            bucket=self.bucket,
            mount=self.mount,
            grace_seconds=self.grace_seconds,
            **place,
        )

    def _needs(self, job: Job) -> list[str]:
        if not job.modules:
            return []
        return [f"the image must have the modules {', '.join(job.modules)}"]


def _spot_toleration() -> Manifest:
    return {
        "key": _SPOT,
        "operator": "Equal",
        "value": "true",
        "effect": "NoSchedule",
    }
