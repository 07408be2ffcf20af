"""JobSet v1alpha2 as a JSON schema: what its documentation says of the fields.

The Job within is left open: it is checked by Kubernetes' own schema. Patterns are those
that the webhook of JobSet 0.12 asks names for.
"""

DNS_LABEL = {"type": "string", "pattern": "^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$"}
_NAMES = {"type": "array", "items": {"type": "string"}}


def _object(required=(), **properties):
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def _list(item, **more):
    return {"type": "array", "items": item, **more}


_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
_RULE = _object(
    ["name", "action"],
    name={"type": "string", "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"},
    action={
        "enum": [
            "FailJobSet",
            "RestartJobSet",
            "RestartJobSetAndIgnoreMaxRestarts",
            "RestartJob",
            "RestartJobAndIgnoreMaxRestarts",
        ]
    },
    onJobFailureReasons=_list(
        {"enum": ["BackoffLimitExceeded", "DeadlineExceeded", "PodFailurePolicy"]},
        uniqueItems=True,
    ),
    onJobFailureMessagePatterns=_list({"type": "string"}, uniqueItems=True),
    targetReplicatedJobs=_NAMES,
)
_REPLICATED_JOB = _object(
    ["name", "template"],
    name=DNS_LABEL,
    groupName=DNS_LABEL,
    replicas={"type": "integer", "minimum": 0},
    template={"type": "object"},
    dependsOn=_list(
        _object(
            ["name", "status"],
            name={"type": "string"},
            status={"enum": ["Ready", "Complete"]},
        ),
        maxItems=5,
    ),
)
_SPEC = _object(
    ["replicatedJobs"],
    replicatedJobs=_list(_REPLICATED_JOB, minItems=1),
    network=_object(
        enableDNSHostnames={"type": "boolean"},
        publishNotReadyAddresses={"type": "boolean"},
        subdomain=DNS_LABEL,
    ),
    successPolicy=_object(
        ["operator"],
        operator={"enum": ["All", "Any"]},
        targetReplicatedJobs=_NAMES,
    ),
    failurePolicy=_object(
        maxRestarts={"type": "integer", "minimum": 0},
        restartStrategy={"enum": ["Recreate", "BlockingRecreate", "InPlaceRestart"]},
        rules=_list(_RULE),
    ),
    startupPolicy=_object(
        ["startupPolicyOrder"], startupPolicyOrder={"enum": ["AnyOrder", "InOrder"]}
    ),
    suspend={"type": "boolean"},
    coordinator=_object(
        ["replicatedJob"],
        replicatedJob={"type": "string"},
        jobIndex={"type": "integer"},
        podIndex={"type": "integer"},
    ),
    managedBy={"type": "string", "maxLength": 63},
    ttlSecondsAfterFinished={"type": "integer", "minimum": 0},
)
SCHEMA = _object(
    ["apiVersion", "kind", "metadata", "spec"],
    apiVersion={"const": "jobset.x-k8s.io/v1alpha2"},
    kind={"const": "JobSet"},
    metadata=_object(
        ["name"],
        name=DNS_LABEL,
        namespace=DNS_LABEL,
        labels=_TEXTS,
        annotations=_TEXTS,
    ),
    spec=_SPEC,
)
