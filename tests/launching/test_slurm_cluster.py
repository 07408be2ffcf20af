"""Jobs on a real SLURM, with two nodes that are this machine."""

import pathlib
import re
import sys

import cheap_compilation
import pytest
import slurm_cluster
from run_differences import differences
from small_gin import SIZES

from dro_jax.cli.main import main
from dro_jax.launching.interface import Job
from dro_jax.launching.slurm import Slurm

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(slurm_cluster.why_not()), reason=slurm_cluster.why_not()),
]
REPOSITORY = pathlib.Path(__file__).parents[2]
ENDS = {  # how both ranks end at each start: how the job ends, after how many restarts
    "done": ([(0, 0)], ("COMPLETED", 0, 0)),
    "refused": ([(143, 2)], ("FAILED", 2, 0)),
    "crashed": ([(1, 134)], ("FAILED", 1, 0)),
    "not-found": ([(134, 127)], ("FAILED", 127, 0)),
    "preempted": ([(143, 143), (0, 0)], ("COMPLETED", 0, 1)),
    "stuck": ([(142, 137), (0, 0)], ("COMPLETED", 0, 1)),
    "for-ever": ([(143, 143)] * 3, ("FAILED", 143, 1)),
}


@pytest.fixture(scope="module")
def cluster():
    with slurm_cluster.running() as started, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", started.environment["SLURM_CONF"])
        yield started


@pytest.fixture
def submit(cluster, tmp_path, monkeypatch, capfd):
    """Launches a line of the shell as a job; gives its number."""
    folder_of_jobs = tmp_path / "a job's 100%j"
    folder_of_jobs.mkdir()
    monkeypatch.chdir(folder_of_jobs)

    def submitted(name, line, **settings):
        target = Slurm(
            nodes=2, partition="tests", shared_folders=("/tmp",), retries=1, **settings
        )
        job = Job(name=name, command=("bash", "-c", line), resumes=True)
        folder = folder_of_jobs / name
        prepared = target.prepare(job, str(folder))
        folder.mkdir()
        (folder / "job.sbatch").write_text(prepared.files["job.sbatch"])
        assert target.launch(job, prepared, str(folder)) == 0
        return number_of(capfd.readouterr().out)

    return submitted


def number_of(printed):
    return re.search(r"Submitted batch job (\d+)", printed)[1]


def test_how_ranks_end_says_how_the_job_goes_on(cluster, submit):
    jobs = {}
    for name, (statuses, _) in ENDS.items():
        at = " ".join(f"{first} {second}" for first, second in statuses)
        line = f"at=({at}); exit ${{at[2*${{SLURM_RESTART_COUNT:-0}}+SLURM_PROCID]}}"
        jobs[name] = submit(name, line)
    ended = {name: cluster.ended(number, 60) for name, number in jobs.items()}
    found = {
        name: (job["JobState"], int(job["ExitCode"][:-2]), int(job["Restarts"]))
        for name, job in ended.items()
    }
    assert found == {name: expected for name, (_, expected) in ENDS.items()}
    assert text_of(pathlib.Path(f"done/logs/{jobs['done']}.log")).endswith("status 0\n")


# Saves on SIGTERM, as training does, and ends when it goes on.
SAVING = """
trap 'echo told; sleep 1; echo saved; exit 143' TERM
echo began
[ "${SLURM_RESTART_COUNT:-0}" = 0 ] || exit 0
for i in {1..300}; do sleep 0.1; done
"""


@pytest.mark.parametrize(
    ("told_by", "expected"),
    [
        # What SLURM does the lead time before the time limit.
        (["scancel", "--batch", "--signal=TERM"], ("COMPLETED", 1)),
        (["scontrol", "requeue"], ("COMPLETED", 1)),
        (["scancel"], ("CANCELLED", 0)),
    ],
    ids=["time limit", "requeued by SLURM", "cancelled"],
)
def test_ranks_are_told_to_stop_and_save(cluster, submit, told_by, expected):
    number = submit("saving", SAVING)
    logs = [pathlib.Path(f"saving/logs/{number}_rank_{rank}.log") for rank in range(2)]
    cluster.wait(lambda: all("began" in text_of(log) for log in logs), "the ranks")
    cluster.query(*told_by, number)
    job = cluster.ended(number, 60)
    assert (job["JobState"], int(job["Restarts"])) == expected
    again = ["began"] * expected[1]
    for log in logs:
        words = text_of(log).replace("Terminated", "").split()  # a shell, of its sleep
        assert words == ["began", "told", "saved", *again]


def test_a_rank_that_stands_still_is_killed(cluster, submit):
    line = """
    [ "${SLURM_RESTART_COUNT:-0}" = 0 ] || exit 0
    [ "$SLURM_PROCID" = 0 ] && exit 142
    kill -STOP $$
    """
    number = submit("stopped", line, exit_seconds=2)
    job = cluster.ended(number, 60)
    assert (job["JobState"], job["Restarts"]) == ("COMPLETED", "1")


TRAIN = [
    "train",
    "--gin_file=dro_jax/gin_configs/models/tiny.gin",
    "--gin_file=dro_jax/gin_configs/objectives/nll.gin",
    "--gin_file=dro_jax/gin_configs/tasks/support_desk.gin",
    "--gin_file=dro_jax/gin_configs/runs/train.gin",
    "--gin.TRAIN_STEPS=30",
    "--gin.BATCH_SIZE=4",
    "--gin.LOG_PERIOD=1",
    "--gin.EVAL_DATASET=None",
    "--gin.train.train.tensorboard=False",
    *(f"--gin.{name}={size}" for name, size in SIZES.items()),
]


@pytest.fixture
def train(tmp_path, monkeypatch, capfd):
    """Launches a training run, as people do; gives the job's number."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{REPOSITORY}")
    monkeypatch.setenv("PATH", f"{pathlib.Path(sys.executable).parent}", prepend=":")
    monkeypatch.setenv("XLA_FLAGS", " ".join(cheap_compilation.FLAGS))

    def launched(name):
        settings = ["--gin.NODES=2", "--gin.PARTITION=tests"]
        settings += ["--gin.SHARED_FOLDERS=['/tmp']"]
        run = f"--gin.MODEL_DIR='{tmp_path / name}'"
        assert main(["launch", "slurm", *settings, "--", *TRAIN, run]) == 0
        return number_of(capfd.readouterr().out)

    return launched


def test_a_preempted_run_ends_as_one_that_was_not(cluster, train, tmp_path):
    whole = train("whole")
    assert cluster.ended(whole, 200)["JobState"] == "COMPLETED", logs_of(tmp_path)
    number = train("preempted")
    metrics = tmp_path / "preempted/metrics.jsonl"
    cluster.wait(lambda: text_of(metrics).count("\n") > 3, "steps", 200)
    cluster.query(
        "sbatch", "--partition=urgent", "--nodes=2", "--exclusive", "--wrap=:"
    )
    job = cluster.ended(number, 200)
    assert (job["JobState"], job["Restarts"]) == ("COMPLETED", "1"), logs_of(tmp_path)
    rank = text_of(tmp_path / f"launched/preempted/logs/{number}_rank_0.log")
    assert "stopped by SIGTERM" in rank
    assert differences(tmp_path / "whole", tmp_path / "preempted", 30) == []


def text_of(path):
    return path.read_text() if path.exists() else ""


def logs_of(folder):
    return "\n".join(text_of(log)[-2000:] for log in folder.glob("launched/*/logs/*"))


def test_a_job_that_slurm_does_not_take(cluster, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    settings = ["--gin.NODES=2", "--gin.PARTITION=gpu"]
    settings += ["--gin.SHARED_FOLDERS=['/tmp']", "--no_plan"]
    run = "--gin.MODEL_DIR=run"
    assert main(["launch", "slurm", *settings, "--", *TRAIN, run]) == 2
    said = capfd.readouterr().err
    assert "this cluster has no partition gpu: its partitions are tests, urgent" in said
    assert "invalid partition" in said
    assert "sbatch did not take the job" in said
