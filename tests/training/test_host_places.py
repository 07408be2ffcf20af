"""Flags, variables and schedulers say which process of how many this is."""

import pytest

from dro_jax.errors import ConfigError
from dro_jax.training import host_places
from dro_jax.training.host_places import Place, place_of

# As `srun -n 2` sets them on the second of two nodes, in the second step of job 4097.
SLURM = {
    "SLURM_JOB_ID": "4097",
    "SLURM_STEP_ID": "1",
    "SLURM_STEP_NUM_TASKS": "2",
    "SLURM_NTASKS": "2",
    "SLURM_PROCID": "1",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "1",
    "SLURM_STEP_TASKS_PER_NODE": "1(x2)",
    "SLURM_STEP_NODELIST": "node[007-008]",
}
VARIABLES = {
    "DRO_JAX_COORDINATOR": "node1:1234",
    "DRO_JAX_NUM_PROCESSES": "4",
    "DRO_JAX_PROCESS_ID": "3",
}


def test_a_process_of_its_own():
    assert place_of(environment={}) is None
    assert place_of("node1:1234", 1, 0, environment={}) is None


def test_flags_come_before_variables_and_these_before_slurm():
    assert place_of("a:1", 2, 1, environment=VARIABLES) == Place("a:1", 2, 1)
    assert place_of(environment=VARIABLES | SLURM) == Place("node1:1234", 4, 3)


def test_tasks_of_a_slurm_step():
    assert place_of(environment=SLURM) == Place("node007:61502", 2, 1)
    port = {"JAX_COORDINATOR_PORT": "999"}
    assert place_of(environment=SLURM | port).coordinator == "node007:999"


@pytest.mark.parametrize(
    "changes",
    [
        {"SLURM_STEP_NUM_TASKS": "1"},
        # A batch script, and a shell of salloc: the job has two tasks, and these none.
        {"SLURM_STEP_NUM_TASKS": None, "SLURM_PROCID": "0"},
        {"SLURM_STEP_NUM_TASKS": None, "SLURM_PROCID": None, "SLURM_LOCALID": None},
    ],
)
def test_one_task_of_slurm_is_alone(changes):
    environment = {k: v for k, v in (SLURM | changes).items() if v is not None}
    assert place_of(environment=environment) is None


@pytest.mark.parametrize(
    ("changes", "devices"),
    [
        ({"SLURM_STEP_TASKS_PER_NODE": "1(x2)"}, None),  # all that the node has
        ({"SLURM_STEP_TASKS_PER_NODE": "1,8", "SLURM_LOCALID": "5"}, [5]),
        ({"SLURM_STEP_TASKS_PER_NODE": "8(x2)", "SLURM_LOCALID": "5"}, [5]),
        # --gpus-per-task: the task sees its own alone.
        (
            {"SLURM_STEP_TASKS_PER_NODE": "8(x2)", "CUDA_VISIBLE_DEVICES": "5"},
            None,
        ),
    ],
)
def test_a_task_takes_its_share_of_a_nodes_devices(changes, devices):
    assert place_of(environment=SLURM | changes).local_device_ids == devices


def test_a_slice_of_one_host_is_alone(monkeypatch):
    environment = {"TPU_WORKER_HOSTNAMES": "localhost", "TPU_SKIP_MDS_QUERY": "1"}
    assert place_of(environment=environment) is None


@pytest.mark.parametrize(
    ("platforms", "is_asked"), [("", True), ("tpu,cpu", True), ("cpu", False)]
)
def test_jax_is_asked_of_a_slice_unless_it_takes_no_tpu(
    monkeypatch, platforms, is_asked
):
    place = Place("worker0:8482", 2, 1)
    monkeypatch.setattr(host_places.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(host_places, "_recognised", lambda timeout: place)
    environment = {"TPU_WORKER_HOSTNAMES": "worker0,worker1"}
    found = place_of(environment=environment | {"JAX_PLATFORMS": platforms})
    assert found == (place if is_asked else None)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("a:1", None, None), "--coordinator without --num_processes and --process_id"),
        (("a", 2, 0), "--coordinator = 'a': give HOST:PORT"),
        (("a:b", 2, 0), "give HOST:PORT"),
        (("a:1", 2, 2), "--process_id = 2 with --num_processes = 2"),
        (("a:1", 2, -1), "numbered from 0"),
    ],
)
def test_half_a_place_is_refused(flags, message):
    with pytest.raises(ConfigError, match=message):
        place_of(*flags, environment={})


def test_variables_are_refused_by_their_names():
    for changes, message in (
        ({"DRO_JAX_PROCESS_ID": ""}, r"without \$DRO_JAX_PROCESS_ID"),
        ({"DRO_JAX_PROCESS_ID": "x"}, r"\$DRO_JAX_PROCESS_ID = 'x' is no number"),
    ):
        with pytest.raises(ConfigError, match=message):
            place_of(environment=VARIABLES | changes)
