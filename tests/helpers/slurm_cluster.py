"""A SLURM of this machine, on loopback, for as long as a test needs it."""

import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "unshare", "setpriv")
_PATIENCE_SECONDS = 30.0

# Both nodes are this machine; the second slurmd is told another host name. JAX finds its
# coordinator by the first node's name. No cgroups, which need more than root.
_CONFIGURATION = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MailProg=/bin/true
ReturnToService=2
MpiDefault=none
KillWait=10
SchedulerType=sched/builtin
SchedulerParameters=sched_interval=1,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=8
NodeName={host}-second NodeAddr=127.0.0.2 Port={ports[2]} CPUs=8
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=tests Nodes=ALL Default=YES PriorityTier=1 GraceTime=120
PartitionName=urgent Nodes=ALL PriorityTier=2
"""


# A host of its own in what programs see of it: its name, which is also found.
_NODE = 'mount --bind "$2" /etc/hosts && hostname "$1" && exec "$0" -D -c'


def why_not() -> str:
    """Why no SLURM starts here; empty where one does."""
    if os.geteuid() != 0:
        return "SLURM's daemons start as root"
    missing = [name for name in PROGRAMS if _which(name) is None]
    if missing:
        return f"{', '.join(missing)} not installed (apt: slurmctld slurmd munge)"
    return ""


class Cluster:
    """Two nodes in the partitions `tests` and, before whose jobs it yields, `urgent`.

    Attributes:
      environment: in which SLURM's commands speak to it.
      nodes: their names; the first is this machine's own.
    """

    def __init__(self, folder: pathlib.Path):
        self._folder = folder
        self.environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf")}
        self.nodes = (socket.gethostname(), f"{socket.gethostname()}-second")
        self._daemons: list[subprocess.Popen] = []

    def start(self) -> None:
        """Daemons in the foreground, each with a log; waits until both nodes are idle."""
        for name in ("state", *(f"spool-{node}" for node in self.nodes)):
            (self._folder / name).mkdir()
        hosts = self._folder / "hosts"
        own = pathlib.Path("/etc/hosts").read_text()
        hosts.write_text(
            "\n".join([own, *(f"127.0.0.1 {name}" for name in self.nodes)])
        )
        key = self._folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        (self._folder / "slurm.conf").write_text(
            _CONFIGURATION.format(
                folder=self._folder, host=self.nodes[0], ports=_free_ports(3)
            )
        )
        self._daemon(
            "munged",
            "--foreground",
            "--force",
            f"--key-file={key}",
            f"--socket={self._folder}/munge.socket",
            f"--pid-file={self._folder}/munge.pid",
            f"--seed-file={self._folder}/munge.seed",
        )
        self.wait(lambda: (self._folder / "munge.socket").exists(), "munged")
        self._daemon("slurmctld", "-D", "-c")
        for node in self.nodes:
            self._daemon(
                *("unshare", "--uts", "--mount", "sh", "-c", _NODE),
                _which("slurmd"),
                node,
                str(hosts),
            )
        self.wait(
            lambda: self.query("sinfo", "-h", "-o", "%D %t").strip() == "2 idle",
            "slurmctld, slurmd",
        )

    def stop(self) -> None:
        """Ends jobs first: what runs a step outlives its node's daemon."""
        try:
            self.query("scancel", "--user=root", "--signal=KILL", "--full")
            self.query("scancel", "--user=root")
            self.wait(lambda: not self.query("squeue", "-h").strip(), "scancel")
        finally:
            self._end_daemons()

    def _end_daemons(self) -> None:
        for daemon in reversed(self._daemons):
            daemon.terminate()
        for daemon in self._daemons:
            try:
                daemon.wait(timeout=10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()

    def query(self, *command: str) -> str:
        """What one of SLURM's commands prints; empty where it fails."""
        done = subprocess.run(
            command,
            check=False,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            timeout=60,
        )
        return done.stdout if done.returncode == 0 else ""

    def job(self, number: str) -> dict[str, str]:
        """What `scontrol show job` says, by name."""
        words = self.query("scontrol", "--oneliner", "show", "job", number).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def ended(self, number: str, seconds: float) -> dict[str, str]:
        """Waits until a job is over, releasing it at once where it was requeued."""

        def over() -> bool:
            state = self.job(number).get("JobState")
            if state == "PENDING":  # SLURM lets two minutes go by
                # Its credentials count in seconds: within one they may be the last's.
                time.sleep(2)
                self.query("scontrol", "update", f"JobId={number}", "StartTime=now")
            return state in ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")

        self.wait(over, f"job {number}", seconds)
        return self.job(number)

    def _daemon(self, *command: str) -> None:
        name = f"{len(self._daemons)}-{command[0]}.out"
        with (self._folder / name).open("wb") as log:
            self._daemons.append(
                subprocess.Popen(
                    # They end with this process, even where it is killed.
                    ["setpriv", "--pdeathsig=TERM", _which(command[0]), *command[1:]],
                    env=self.environment,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            )

    def wait(self, is_so, what: str, seconds: float = _PATIENCE_SECONDS) -> None:
        """Waits until something is so; `what` is named where it does not become so."""
        end = time.monotonic() + seconds
        while not is_so():
            assert time.monotonic() < end, f"{what}: not in {seconds} s: {self._logs()}"
            time.sleep(0.2)

    def _logs(self) -> str:
        return "\n".join(
            f"{log.name}:\n{log.read_text(errors='replace')[-2000:]}"
            for log in sorted(self._folder.glob("*.out"))
        )


@contextlib.contextmanager
def running() -> Iterator[Cluster]:
    """The cluster, which is gone when the block ends, with its jobs."""
    # A socket's path has 107 characters at most.
    folder = pathlib.Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
    cluster = Cluster(folder)
    try:
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _which(name: str) -> str | None:
    # The daemons' folder is often on root's PATH alone.
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def _free_ports(count: int) -> Sequence[int]:
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
