"""Which process of how many this one is, and where the first is found."""

import glob
import importlib.util
import os
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from dro_jax.errors import ConfigError

# What a launcher may set instead of the flags.
COORDINATOR = "DRO_JAX_COORDINATOR"
NUM_PROCESSES = "DRO_JAX_NUM_PROCESSES"
PROCESS_ID = "DRO_JAX_PROCESS_ID"
_FLAGS = {
    COORDINATOR: "--coordinator",
    NUM_PROCESSES: "--num_processes",
    PROCESS_ID: "--process_id",
}
# The upper ports of the range that systems give to connections, which nobody listens at.
_FIRST_NODE = re.compile(r"([^,\[]+)(?:\[([^,\-\]]+))?")
_FIRST_PORT, _NUM_PORTS = 61440, 4096


class Place(NamedTuple):
    """A process's place among those of its run.

    Attributes:
      coordinator: `HOST:PORT`, where the first process is reached by all.
      num_processes: of the run.
      process_id: this one's, from 0.
      local_device_ids: the accelerators that this process takes; None, all that it sees.
    """

    coordinator: str
    num_processes: int
    process_id: int
    local_device_ids: Sequence[int] | None = None


def place_of(
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    *,
    environment: Mapping[str, str] = os.environ,
    timeout: float = 300,
) -> Place | None:
    """The place that flags give, or else the environment; None, a process of its own.

    The environment is, in this order: the variables `DRO_JAX_COORDINATOR`,
    `DRO_JAX_NUM_PROCESSES`, `DRO_JAX_PROCESS_ID`; a step of several tasks under SLURM
    (`srun`; a shell inside an allocation is none); and what JAX recognises of a TPU slice
    of several hosts, of a job of Kubernetes with an index, or of `mpirun`. Without any of
    these nothing is imported or asked.

    Args:
      coordinator, num_processes, process_id: the flags; all three or none.
      environment: in whose variables to look.
      timeout: seconds that a coordinator's name may take to become known.

    Raises:
      ConfigError: a flag or variable is missing beside the others, or is no such number.
    """
    given = {
        COORDINATOR: coordinator,
        NUM_PROCESSES: num_processes,
        PROCESS_ID: process_id,
    }
    if all(value is None for value in given.values()):
        given = {name: environment.get(name) or None for name in given}
        names = {name: f"${name}" for name in given}
    else:
        names = _FLAGS
    if any(value is not None for value in given.values()):
        place = _given(given, names)
    elif int(environment.get("SLURM_STEP_NUM_TASKS", 1)) > 1:
        place = _of_slurm(environment)
    elif _may_be_many(environment):
        place = _recognised(timeout)
    else:
        return None
    return place if place.num_processes > 1 else None


def _given(given: Mapping[str, str | int | None], names: Mapping[str, str]) -> Place:
    missing = [names[name] for name, value in given.items() if value is None]
    if missing:
        there = [names[name] for name, value in given.items() if value is not None]
        raise ConfigError(
            f"{' and '.join(there)} without {' and '.join(missing)}: a process of several "
            "needs all three: the first's HOST:PORT, how many there are, and its own "
            "number from 0"
        )
    host, _, port = str(given[COORDINATOR]).rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ConfigError(
            f"{names[COORDINATOR]} = {given[COORDINATOR]!r}: give HOST:PORT, a host that "
            "all processes reach and a port that is free there"
        )
    numbers = []
    for name in (NUM_PROCESSES, PROCESS_ID):
        try:
            numbers.append(int(given[name]))
        except ValueError:
            raise ConfigError(f"{names[name]} = {given[name]!r} is no number") from None
    count, index = numbers
    if count < 1 or not 0 <= index < count:
        raise ConfigError(
            f"{names[PROCESS_ID]} = {index} with {names[NUM_PROCESSES]} = {count}: "
            "processes are numbered from 0 to one less than their count"
        )
    return Place(str(given[COORDINATOR]), count, index, _listed_devices())


def _of_slurm(environment: Mapping[str, str]) -> Place:
    # `node1,node2` or `node[01-16],other`: the first is process 0's.
    nodes = environment["SLURM_STEP_NODELIST"]
    first = "".join(_FIRST_NODE.match(nodes).groups(""))
    # JAX's port depends on the job alone, and two steps of a job may run at once.
    job, step = (
        int(environment.get(name, 0)) for name in ("SLURM_JOB_ID", "SLURM_STEP_ID")
    )
    port = environment.get("JAX_COORDINATOR_PORT") or str(
        _FIRST_PORT + (job + 61 * step) % _NUM_PORTS
    )
    return Place(
        f"{first}:{port}",
        int(environment["SLURM_STEP_NUM_TASKS"]),
        int(environment["SLURM_PROCID"]),
        _devices_of_a_task(environment),
    )


def _devices_of_a_task(environment: Mapping[str, str]) -> Sequence[int] | None:
    """Those of one task among a node's; None, all that it sees."""
    if (listed := _listed_devices()) is not None:
        return listed
    node = int(environment.get("SLURM_NODEID", 0))
    tasks = _tasks_per_node(environment.get("SLURM_STEP_TASKS_PER_NODE", "1"))
    visible = environment.get("CUDA_VISIBLE_DEVICES", "").split(",")
    # SLURM itself may show a task its own device alone, which then is number 0.
    if tasks[min(node, len(tasks) - 1)] == 1 or len(visible) == 1 and visible[0]:
        return None
    return [int(environment.get("SLURM_LOCALID", 0))]


def _tasks_per_node(text: str) -> list[int]:
    """`2(x3),1` as a list: 2, 2, 2, 1."""
    tasks = []
    for part in text.split(","):
        number, _, times = part.partition("(x")
        tasks += [int(number)] * int(times.rstrip(")") or 1)
    return tasks


def _listed_devices() -> Sequence[int] | None:
    listed = os.environ.get("JAX_LOCAL_DEVICE_IDS")  # JAX's own
    return None if not listed else [int(number) for number in listed.split(",")]


def _may_be_many(environment: Mapping[str, str]) -> bool:
    """Whether it is worth asking JAX; without importing it."""
    if int(environment.get("OMPI_COMM_WORLD_SIZE", 1)) > 1:
        return True
    if "JOB_COMPLETION_INDEX" in environment and importlib.util.find_spec("kubernetes"):
        return True
    # Set to nothing, it leaves the choice to JAX as if it were not set.
    platforms = environment.get("JAX_PLATFORMS") or "tpu"
    if "tpu" not in platforms or importlib.util.find_spec("libtpu") is None:
        return False
    hosts = environment.get("TPU_PROCESS_ADDRESSES") or environment.get(
        "TPU_WORKER_HOSTNAMES"
    )
    if int(environment.get("MEGASCALE_NUM_SLICES") or 1) > 1:
        return True
    if hosts is not None:
        return "," in hosts
    # A virtual machine with TPUs: its metadata say which of how many it is.
    return bool(glob.glob("/dev/accel*") or glob.glob("/dev/vfio/[0-9]*"))


def _recognised(timeout: float) -> Place:
    # JAX offers its detection only as part of its own start, which ends the process
    # where a host does not come, without a word which.
    from jax._src.clusters import ClusterEnv

    try:
        address, count, index, devices = (
            ClusterEnv.auto_detect_unset_distributed_params(
                None, None, None, _listed_devices(), None, int(timeout)
            )
        )
    except (RuntimeError, OSError) as error:
        raise ConfigError(
            f"this looks like one of several hosts, and JAX cannot tell which: {error}. "
            "Say it: --coordinator=HOST:PORT --num_processes=N --process_id=I"
        ) from error
    if address is None or count is None or index is None:
        return Place("", 1, 0)
    return Place(address, count, index, devices)
