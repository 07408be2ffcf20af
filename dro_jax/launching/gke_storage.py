"""What the pods of a GKE job see beside their image: a shared disk, own gin files.

Fields are core/v1's; the driver and its options are those of Cloud Storage FUSE.
"""

import dataclasses
import posixpath
import re
from collections.abc import Sequence
from typing import Any

from dro_jax.launching.interface import Job

Manifest = dict[str, Any]
WORK_DIR = "/dro_jax"  # as in launch/Dockerfile: where the command runs
_FUSE = "gke-gcsfuse"
# Each host sees at once what the others wrote; folders can be renamed, as checkpoints
# are when they are whole.
MOUNT_OPTIONS = (
    "implicit-dirs",
    "metadata-cache-ttl-secs=0",
    "metadata-cache-negative-ttl-secs=0",
    "rename-dir-limit=20000",
)


@dataclasses.dataclass(frozen=True)
class SharedDisk:
    """A disk that all pods mount.

    Attributes:
      claim: the name of the claim on it.
      mount: where it is seen.
      manifests: what makes the claim; none where it is there.
      annotations: that its pods carry.
    """

    claim: str
    mount: str
    manifests: Sequence[Manifest] = ()
    annotations: dict[str, str] = dataclasses.field(default_factory=dict)

    @classmethod
    def of_bucket(cls, bucket: str, mount: str, namespace: str) -> "SharedDisk":
        """A bucket by Cloud Storage FUSE: a volume, and the claim on it."""
        claim = re.sub("[_.]", "-", bucket)
        # "0" lifts the limits of the container that serves it, which keeps what is
        # written until the file is closed.
        limits = ("cpu-limit", "memory-limit", "ephemeral-storage-limit")
        return cls(
            claim,
            mount,
            _bucket_manifests(bucket, claim, namespace),
            {f"{_FUSE}/volumes": "true", **{f"{_FUSE}/{name}": "0" for name in limits}},
        )


def _bucket_manifests(bucket: str, claim: str, namespace: str) -> list[Manifest]:
    volume = f"{namespace}-{claim}"  # volumes have no namespace
    storage = {"storage": "1Ti"}  # Kubernetes wants a number; nothing is reserved

    def common() -> Manifest:
        return {"accessModes": ["ReadWriteMany"], "storageClassName": ""}

    return [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": volume},
            "spec": {
                **common(),
                "capacity": dict(storage),
                "persistentVolumeReclaimPolicy": "Retain",
                "claimRef": {"name": claim, "namespace": namespace},
                "mountOptions": list(MOUNT_OPTIONS),
                "csi": {
                    "driver": "gcsfuse.csi.storage.gke.io",
                    "volumeHandle": bucket,
                },
            },
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": claim, "namespace": namespace},
            "spec": {
                **common(),
                "volumeName": volume,
                "resources": {"requests": dict(storage)},
            },
        },
    ]


def volumes(job: Job, disk: SharedDisk | None) -> tuple[list[Manifest], list[Manifest]]:
    """A pod's volumes, and where its container mounts them."""
    found, mounts = [], []
    if disk:
        found.append(
            {"name": "shared", "persistentVolumeClaim": {"claimName": disk.claim}}
        )
        mounts.append({"name": "shared", "mountPath": disk.mount})
    files = _gin_files(job)
    if files:
        found.append({"name": "gin", "configMap": {"name": job.name}})
        mounts += [
            {
                "name": "gin",
                "mountPath": posixpath.normpath(posixpath.join(WORK_DIR, name)),
                "subPath": key,
                "readOnly": True,
            }
            for name, (key, _) in files.items()
        ]
    return found, mounts


def config_map(job: Job, namespace: str) -> Manifest | None:
    """The person's own gin files; None where there are none."""
    files = _gin_files(job)
    if not files:
        return None
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": job.name, "namespace": namespace},
        "data": dict(files.values()),
    }


def _gin_files(job: Job) -> dict[str, tuple[str, str]]:
    """Key and text of the gin files that go along; one on the shared disk does not."""
    return {
        name: (f"{n}-" + re.sub(r"[^\w.-]", "-", posixpath.basename(name)), text)
        for n, (name, text) in enumerate(job.gin_files.items())
        if not name.startswith("/")
    }
