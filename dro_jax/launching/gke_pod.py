"""The pod that runs a job's command on one host of a slice of GKE's.

Fields are core/v1's; labels of nodes are GKE's.
"""

from collections.abc import Mapping, Sequence

from dro_jax.launching.gke_storage import WORK_DIR, Manifest, SharedDisk, volumes
from dro_jax.launching.interface import Job
from dro_jax.launching.slices import TpuSlice

CONTAINER = "main"


def pod_template(
    job: Job,
    tpu_slice: TpuSlice,
    disk: SharedDisk | None,
    *,
    image: str,
    chips: int,
    environment: Mapping[str, str],
    grace_seconds: int,
    selector: Mapping[str, str],
    tolerations: Sequence[Manifest],
    service_account: str | None,
) -> Manifest:
    """One host's pod.

    Args:
      job, tpu_slice: what runs, and where.
      disk: that the hosts share.
      image: of the container.
      chips: that the pod asks for: all of its host's.
      environment: variables of the command.
      grace_seconds: between SIGTERM and SIGKILL; a save must fit.
      selector, tolerations: of nodes, beside those of the slice.
      service_account: Kubernetes' own, which may use the bucket; None for the default.
    """
    found, mounts = volumes(job, disk)
    tpus = {"google.com/tpu": chips}
    container = {
        "name": CONTAINER,
        "image": image,
        # No shell between: the command itself gets SIGTERM.
        "command": [_literal(word) for word in job.command],
        "workingDir": WORK_DIR,
        "env": [
            {"name": name, "value": _literal(value)}
            for name, value in {**environment, **job.environment}.items()
        ],
        "resources": {"requests": tpus, "limits": dict(tpus)},
        "volumeMounts": mounts,
    }
    spec = {
        # A Job with a failure policy wants this: the JobSet restarts all, or nothing.
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": grace_seconds,
        "nodeSelector": {
            "cloud.google.com/gke-tpu-accelerator": (
                tpu_slice.generation.gke_accelerator
            ),
            "cloud.google.com/gke-tpu-topology": tpu_slice.topology,
            **selector,
        },
        "tolerations": [{"key": "google.com/tpu", "operator": "Exists"}, *tolerations],
        "containers": [container],
        "volumes": found,
    }
    if service_account:
        spec["serviceAccountName"] = service_account
    annotations = disk.annotations if disk else {}
    return {"metadata": {"annotations": dict(annotations)}, "spec": spec}


def _literal(text: str) -> str:
    """As the container gets it: Kubernetes puts variables in for `$(NAME)`."""
    return text.replace("$", "$$")
