"""Manifests for GKE: by Kubernetes' own schema, JobSet's, and against xpk's."""

import re
import shlex

import jobset_schema
import pytest
import yaml
from import_graph import ROOT

from dro_jax.cli.main import main
from dro_jax.errors import ConfigError
from dro_jax.exit_codes import EXIT_CODES, PREEMPTED
from dro_jax.launching.gke import Gke
from dro_jax.launching.interface import Job
from dro_jax.planning.slice_names import check_topology

KUBERNETES = "1.33"  # of GKE's regular channel when this was written
OWN_GIN = "# Mine.\nTAU = 1.0  # €\n"
COMMAND = (
    *("dro-jax", "train", "--gin_file=gin_configs/runs/hha_dro_v.gin"),
    *("--gin_file=mine/my run.gin", "--gin.MODEL_DIR='/bucket/$HOME'"),
)
JOB = Job(
    "dro-v",
    COMMAND,
    environment={"PYTHONPATH": "/t5x"},
    model_dir="/bucket/dro_v",
    local_paths=("/bucket/dro_v",),
    gin_files={"mine/my run.gin": OWN_GIN, "/bucket/more.gin": "A = 1\n"},
    resumes=True,
)


def gke(**settings):
    needed = {"project": "p", "zone": "us-west4-a", "cluster": "c", "image": "i:1"}
    return Gke(**{**needed, "tpu_slice": "v5e:4x4", "bucket": "b_1", **settings})


def prepared(job=JOB, **settings):
    return gke(**settings).prepare(job, "/launched/dro-v")


def manifests(job=JOB, **settings):
    """By kind."""
    text = prepared(job, **settings).files[f"{job.name}.yaml"]
    return {found["kind"]: found for found in yaml.safe_load_all(text)}


def job_spec(found):
    (replicated,) = found["JobSet"]["spec"]["replicatedJobs"]
    assert replicated["replicas"] == 1
    return replicated["template"]["spec"]


def container(found):
    (only,) = job_spec(found)["template"]["spec"]["containers"]
    return only


ALL = {
    "bucket": {"queue": "q", "environment": {"A": "$(HOME) 1"}},
    "claim": {"bucket": None, "claim": "filestore", "spot": True},
    "reserved": {"reservation": "r", "service_account": "trainer", "namespace": "n"},
    "one host": {"tpu_slice": "v6e:2x4", "chips_per_host": 8},
}


@pytest.mark.parametrize("settings", ALL.values(), ids=ALL)
def test_kubernetes_knows_every_field(settings):
    validator = pytest.importorskip(
        "kubernetes_validate", reason="needs the extra launch-test"
    )
    found = manifests(**settings)
    job_set = found.pop("JobSet")
    (replicated,) = job_set["spec"]["replicatedJobs"]
    wrapped = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "x"}}
    for manifest in (*found.values(), {**wrapped, **replicated["template"]}):
        validator.validate(manifest, KUBERNETES, strict=True)
    assert len(found) == (1 if settings.get("claim") else 3)


@pytest.mark.parametrize("settings", ALL.values(), ids=ALL)
def test_jobset_knows_every_field(settings):
    jsonschema = pytest.importorskip("jsonschema", reason="needs the extra test")
    job_set = manifests(**settings)["JobSet"]
    jsonschema.validate(job_set, jobset_schema.SCHEMA)
    job_set["spec"]["failurePolicy"]["rules"][0]["onExitCodes"] = []
    with pytest.raises(jsonschema.ValidationError, match="onExitCodes"):
        jsonschema.validate(job_set, jobset_schema.SCHEMA)


def test_a_slice_is_asked_for_as_xpk_does():
    # What xpk 1.16 prints for v5litepod-4x4, but for what is its own: names, a shell
    # around the command, the host's network, priority classes.
    found = manifests(queue="multislice-queue")
    metadata = found["JobSet"]["metadata"]
    assert metadata["labels"] == {"kueue.x-k8s.io/queue-name": "multislice-queue"}
    assert metadata["annotations"] == {
        "alpha.jobset.sigs.k8s.io/exclusive-topology": "cloud.google.com/gke-nodepool"
    }
    spec = job_spec(found)
    assert (spec["parallelism"], spec["completions"], spec["backoffLimit"]) == (4, 4, 0)
    pod = spec["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    assert pod["nodeSelector"] == {
        "cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice",
        "cloud.google.com/gke-tpu-topology": "4x4",
    }
    assert pod["tolerations"] == [{"operator": "Exists", "key": "google.com/tpu"}]
    assert container(found)["resources"]["limits"] == {"google.com/tpu": 4}


def test_one_process_a_host_by_number():
    spec = job_spec(manifests(tpu_slice="v6e:2x4", chips_per_host=8))
    assert (spec["completionMode"], spec["completions"]) == ("Indexed", 1)
    # xpk takes the whole pool here too, which may hold other single hosts.
    one = manifests(tpu_slice="v6e:2x2")["JobSet"]
    assert one["metadata"]["annotations"] == {}
    found = manifests(tpu_slice="v6e:2x4")
    assert job_spec(found)["completions"] == 2
    assert container(found)["resources"]["requests"] == {"google.com/tpu": 4}


def ending(found, codes, *, disrupted=False):
    """What JobSet does when pods have ended so, by the rules of Job and JobSet."""
    spec = job_spec(found)
    reason, message = "BackoffLimitExceeded", "Job has reached the backoff limit"
    for index, rule in reversed([*enumerate(spec["podFailurePolicy"]["rules"])]):
        assert rule["action"] == "FailJob"
        told = f"matching FailJob rule at index {index}"
        if "onPodConditions" in rule:
            if disrupted:
                reason = "PodFailurePolicy"
                message = f"Pod n/x has condition DisruptionTarget {told}"
            continue
        wanted = rule["onExitCodes"]
        for code in codes:
            listed = code in wanted["values"]
            if code and listed == (wanted["operator"] == "In"):
                reason = "PodFailurePolicy"
                failed = f"Container {wanted['containerName']} for pod n/x failed with"
                message = f"{failed} exit code {code} {told}"
    for rule in found["JobSet"]["spec"]["failurePolicy"]["rules"]:
        patterns = rule.get("onJobFailureMessagePatterns", [""])
        if reason in rule.get("onJobFailureReasons", [reason]) and any(
            re.search(pattern, message) for pattern in patterns
        ):
            return rule["action"]
    return "RestartJobSet"


def test_each_exit_is_met_as_the_table_says():
    found = manifests(retries=3)
    assert found["JobSet"]["spec"]["failurePolicy"]["maxRestarts"] == 3
    for code in EXIT_CODES.values():
        if code.number == 0:
            continue
        expected = "RestartJobSet" if code.retried else "FailJobSet"
        if code is PREEMPTED:
            expected = "RestartJobSetAndIgnoreMaxRestarts"
        assert ending(found, [code.number]) == expected, code
    assert ending(found, [139]) == "FailJobSet"  # a segmentation fault
    # A node that went away, whatever its container said; a refusal among aborted peers.
    for code in (0, 1, 137):
        how = ending(found, [code], disrupted=True)
        assert how == "RestartJobSetAndIgnoreMaxRestarts"
    assert ending(found, [134, 2, 134]) == "FailJobSet"


def test_what_cannot_go_on_is_not_restarted():
    job = Job("once", ("dro-jax", "train", "--overwrite"))
    with pytest.raises(ConfigError, match=r"--overwrite .* --gin\.RETRIES=0"):
        prepared(job)
    found = manifests(job, retries=0)
    for code in (1, 2, 134, 137, 143):
        assert ending(found, [code]) == "FailJobSet"
    assert ending(found, [143], disrupted=True) == "FailJobSet"


def test_a_save_fits_before_the_end():
    pod = job_spec(manifests(grace_seconds=120))["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] == 120
    # No shell between: process 1 of the container gets the signal.
    assert container(manifests())["command"][0] == "dro-jax"


def test_words_come_as_they_were_given():
    found = container(manifests(environment={"A": "$(HOME)", "B": "2"}))
    # Kubernetes reads `$$` as `$`, and `$(NAME)` as a variable.
    assert tuple(word.replace("$$", "$") for word in found["command"]) == COMMAND
    assert "$$HOME" in found["command"][-1]
    assert {v["name"]: v["value"].replace("$$", "$") for v in found["env"]} == {
        "A": "$(HOME)",
        "B": "2",
        "PYTHONPATH": "/t5x",
    }


def test_own_gin_files_lie_where_the_command_names_them():
    found = manifests()
    only = container(found)
    mounts = {m["mountPath"]: m.get("subPath") for m in only["volumeMounts"]}
    assert only["workingDir"] == "/dro_jax"
    assert found["ConfigMap"]["data"] == {
        mounts["/dro_jax/mine/my run.gin"]: OWN_GIN,
    }
    assert re.fullmatch(r"[\w.-]+", mounts["/dro_jax/mine/my run.gin"])
    assert found["ConfigMap"]["metadata"]["name"] == JOB.name


def test_a_bucket_is_claimed_and_seen_by_all():
    found = manifests(namespace="n")
    volume, claim = found["PersistentVolume"], found["PersistentVolumeClaim"]
    assert volume["spec"]["csi"]["volumeHandle"] == "b_1"
    name = claim["metadata"]["name"]
    assert volume["spec"]["claimRef"] == {"name": name, "namespace": "n"}
    assert claim["spec"]["volumeName"] == volume["metadata"]["name"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    # One host must see at once what another wrote.
    assert "metadata-cache-ttl-secs=0" in volume["spec"]["mountOptions"]
    template = job_spec(found)["template"]
    assert template["metadata"]["annotations"]["gke-gcsfuse/volumes"] == "true"
    assert template["spec"]["volumes"][0]["persistentVolumeClaim"] == {
        "claimName": name
    }
    assert container(found)["volumeMounts"][0]["mountPath"] == "/bucket"
    assert gke().mounts == ("/bucket",)


def test_the_manifest_is_applied_to_the_named_cluster():
    (apply,) = prepared().commands
    assert shlex.join(apply) == (
        "kubectl --context=gke_p_us-west4-a_c --namespace=default apply "
        "--filename=/launched/dro-v/dro-v.yaml"
    )


def test_what_kubectl_refuses_is_no_crash(tmp_path, monkeypatch):
    kubectl = tmp_path / "kubectl"
    kubectl.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    kubectl.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(ConfigError, match="kubectl did not submit the job"):
        gke().launch(JOB, prepared(), str(tmp_path))


@pytest.mark.parametrize(
    ("text", "name"), [("v5litepod:4x4", "v5e:4x4"), ("v7x:2x2x1", "tpu7x:2x2x1")]
)
def test_plan_is_asked_for_a_slice_by_the_name_that_it_knows(text, name):
    assert gke(tpu_slice=text).topology == name
    check_topology(gke(tpu_slice=text).topology)


def test_other_launchers_get_the_same_command():
    lines = {
        name: shlex.split(note.partition(f"{name} ")[2])
        for note in prepared().notes
        for name in ("xpk workload create", "gcluster job submit")
        if f": {name} " in note
    }
    for words in lines.values():
        flags = dict(word.split("=", 1) for word in words)
        assert tuple(shlex.split(flags["--command"])) == COMMAND
        assert flags["--restart-on-exit-codes"] == "134,137,142,143"
    assert "--tpu-type=v5litepod-4x4" in lines["xpk workload create"]
    assert "--mount=gs://b_1:/bucket:rw" in lines["gcluster job submit"]
    (of_eight,) = (
        note
        for note in prepared(tpu_slice="v5e:2x4", chips_per_host=8).notes
        if "gcluster job submit" in note
    )
    assert "--compute-type=ct5lp-hightpu-8t" in of_eight


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bucket": "gs://b"}, "name alone, without gs://"),
        ({"bucket": None}, "a pod's own disk .* set BUCKET"),
        ({"claim": "x"}, "BUCKET and CLAIM exclude"),
        ({"spot": True, "reservation": "r"}, "exclude one another"),
        ({"mount": "bucket"}, "absolute path"),
        ({"retries": -1}, "RETRIES must be at least 0"),
        ({"grace_seconds": 0}, "GRACE_SECONDS must be at least 1"),
        ({"environment": {"A": 1}}, "variables are text: '1'"),
        ({"environment": {"A b": "1"}}, "'A b' is no name of a variable"),
        ({"mount": "/disk"}, "MODEL_DIR names /bucket/dro_v.*/disk"),
        ({"chips_per_host": 8}, "CHIPS_PER_HOST"),
        ({"tpu_slice": "v5e-16"}, "SLICE"),
    ],
)
def test_what_does_not_fit_is_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        prepared(**settings)


def test_the_page_shows_what_is_submitted(capsys):
    page = (ROOT / "docs" / "launch_gke.md").read_text(encoding="utf-8")
    block = "<!-- the manifest{} -->\n```{}\n(.*?)\n```"
    command = re.search(block.format("'s command", "sh"), page, re.DOTALL)[1]
    shown = re.search(block.format("", "yaml"), page, re.DOTALL)[1]
    assert main(shlex.split(command.replace("\\\n", ""))[1:]) == 0
    assert f".yaml\n{shown}\n\nkubectl " in capsys.readouterr().out
