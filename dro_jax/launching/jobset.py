"""A JobSet, the Kubernetes object that runs one job on all hosts of a slice.

Fields: JobSet v1alpha2 (kubernetes-sigs/jobset) and batch/v1 Job.
"""

from collections.abc import Mapping

from dro_jax.exit_codes import EXIT_CODES, PREEMPTED
from dro_jax.launching.gke_pod import CONTAINER
from dro_jax.launching.gke_storage import Manifest
from dro_jax.launching.interface import Job

_ONE_POOL = {
    "alpha.jobset.sigs.k8s.io/exclusive-topology": "cloud.google.com/gke-nodepool"
}
_DISRUPTED = "has condition DisruptionTarget"


def job_set(
    job: Job,
    pod: Manifest,
    *,
    hosts: int,
    namespace: str,
    labels: Mapping[str, str],
    retries: int,
) -> Manifest:
    """One Job with a pod on each host of a slice, restarted as a whole.

    Args:
      job: what runs.
      pod: of one host, by `gke_pod.pod_template`.
      hosts: of the slice.
      namespace: Kubernetes' own.
      labels: Kueue's.
      retries: restarts after what may be retried; preemptions are not counted.
    """
    return {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": {
            "name": job.name,
            "namespace": namespace,
            "labels": dict(labels),
            # A pool of several hosts is one slice, and the job's alone; a pool of
            # single hosts has room for other jobs.
            "annotations": dict(_ONE_POOL) if hosts > 1 else {},
        },
        "spec": {
            # jax finds process 0 by the host names that this service gives.
            "network": {"enableDNSHostnames": True, "publishNotReadyAddresses": True},
            "failurePolicy": _failure_policy(retries if job.resumes else None),
            "replicatedJobs": [
                {
                    # Pods are called NAME-slice-0-HOST-…, in 63 letters at most.
                    "name": "slice",
                    "replicas": 1,
                    "template": {
                        "spec": {
                            "parallelism": hosts,
                            "completions": hosts,
                            "completionMode": "Indexed",
                            # A pod alone is never restarted: its peers wait for it in
                            # a collective.
                            "backoffLimit": 0,
                            "podFailurePolicy": {"rules": _pod_rules()},
                            "template": pod,
                        }
                    },
                }
            ],
        },
    }


def _pod_rules() -> list[Manifest]:
    """What ends the Job by name; the other codes end it by its backoff limit."""
    retried = sorted(code.number for code in EXIT_CODES.values() if code.retried)

    def of_codes(operator: str, codes: list[int]) -> Manifest:
        return {
            "action": "FailJob",
            "onExitCodes": {
                "containerName": CONTAINER,
                "operator": operator,
                "values": codes,
            },
        }

    return [
        {
            "action": "FailJob",
            "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
        },
        of_codes("In", [PREEMPTED.number]),
        of_codes("NotIn", retried),
    ]


def _failure_policy(retries: int | None) -> Manifest:
    """Restarts after preemption without end, after what may be retried so many times.

    Which rule ended a Job is told by its message alone: its reason is the same for all.
    """
    if retries is None:
        return {"maxRestarts": 0, "rules": [_rule("ended", "FailJobSet")]}
    preempted = _rule(
        "preempted", "RestartJobSetAndIgnoreMaxRestarts", "PodFailurePolicy"
    )
    preempted["onJobFailureMessagePatterns"] = [
        _DISRUPTED,
        f"exit code {PREEMPTED.number} ",
    ]
    return {
        "maxRestarts": retries,
        "rules": [
            preempted,
            _rule("notRetried", "FailJobSet", "PodFailurePolicy"),
            _rule("retried", "RestartJobSet", "BackoffLimitExceeded"),
        ],
    }


def _rule(name: str, action: str, reason: str | None = None) -> Manifest:
    reasons = {"onJobFailureReasons": [reason]} if reason else {}
    return {"name": name, "action": action, **reasons}
