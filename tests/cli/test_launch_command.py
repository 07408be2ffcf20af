"""`dro-jax launch`: what it prints, and what it refuses before anything starts."""

import json
import subprocess
import sys

import gin
import pytest

from dro_jax.cli import launch_parser
from dro_jax.cli.main import main

RUN = ["--gin_file=gin_configs/runs/quickstart_reference.gin"]
T5X = [
    "t5x.train",
    "--gin_file=dro_jax/gin_configs/t5x/train.gin",
    "--gin_file=dro_jax/gin_configs/objectives/nll.gin",
    "--gin_file=dro_jax/gin_configs/tasks/support_desk.gin",
]
PYTHON = sys.executable


@pytest.fixture(autouse=True)
def _clean_gin():
    yield
    gin.clear_config()


@pytest.fixture
def in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    return tmp_path


def launch(*words, command=()):
    return main(["launch", "local", "--gin.PORT=4321", *words, "--", *command])


def test_a_dry_run_is_what_would_run(in_a_folder, capsys):
    command = ["train", *RUN, "--gin.MODEL_DIR='runs/a b'"]
    flags = ["--num_processes=2", "--devices_per_process=4", "--gin.PLATFORM=cpu"]
    assert launch(*flags, "--dry_run", command=command) == 0
    line = (
        "env JAX_PLATFORMS=cpu XLA_FLAGS=--xla_force_host_platform_device_count=4 "
        f"{PYTHON} -P -m dro_jax.cli.main train {RUN[0]} "
        """'--gin.MODEL_DIR='"'"'runs/a b'"'"'' """
        "--coordinator=127.0.0.1:4321 --num_processes=2 --process_id="
    )
    assert capsys.readouterr().out == f"{line}0\n{line}1\n"
    assert [*in_a_folder.iterdir()] == []


def test_an_evaluation_is_launched_with_its_runs(in_a_folder, capsys):
    for name in ("one", "two"):
        (in_a_folder / name).mkdir()
    command = ["evaluate", "one", "two", "--reference=google/a", "--output=out.json"]
    assert launch("--num_processes=1", "--dry_run", command=command) == 0
    assert capsys.readouterr().out.endswith(f"evaluate {' '.join(command[1:])}\n")
    command.insert(2, "three")
    assert launch("--num_processes=1", "--dry_run", command=command) == 2
    assert "three: there is no such folder" in capsys.readouterr().err


SWEEP = ["sweep", "--gin_file=gin_configs/sweeps/quickstart.gin"]


def test_workers_of_a_sweep_do_not_join(in_a_folder, capsys, monkeypatch):
    command = [*SWEEP, "--output_dir=swept"]
    assert launch("--num_processes=2", "--dry_run", command=command) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == second
    assert first.endswith(f"dro_jax.cli.main {' '.join(command)}")
    slurm = ["launch", "slurm", f"--gin.SHARED_FOLDERS=['{in_a_folder}']", "--dry_run"]
    assert main([*slurm, "--gin.NODES=2", "--", *command]) == 0
    told = capsys.readouterr().out
    assert f"dro-jax {' '.join(command)}" in told
    assert "2 workers keep their trials in SQLite's file on a disk" in told
    server = [*command, "--storage=postgresql://me@host/trials"]
    assert main([*slurm, "--gin.NODES=2", "--", *server]) == 0
    assert "SQLite" not in capsys.readouterr().out
    # The hosts need not have this machine's variable.
    monkeypatch.setenv("DRO_JAX_STORAGE", "postgresql://me@host/trials")
    assert main([*slurm, "--gin.NODES=2", "--", *command]) == 0
    assert server[-1] in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "wrong"),
    [
        (
            ["--storage=postgresql://me:secret@host/trials"],
            "--storage holds a password",
        ),
        (["--storage=postgresql://me:se/cret#secret@host/trials"], "holds a password"),
        (["--storage=postgresql://host/trials?password=secret"], "holds a password"),
        (["--workers=2"], "--workers is of one machine"),
        (["--output_dir=gs://bucket/swept"], "dro-jax writes to folders"),
        (["--gin_file=none.gin"], "a gin file cannot be found: none.gin"),
    ],
)
def test_sweeps_that_cannot_be_launched(in_a_folder, capsys, flags, wrong):
    assert launch("--dry_run", command=[*SWEEP, "--output_dir=swept", *flags]) == 2
    told = capsys.readouterr()
    assert wrong in told.err
    assert "secret" not in told.err + told.out


def test_a_slice_is_one_worker_of_a_sweep(capsys):
    command = [*SWEEP, "--output_dir=/bucket/swept"]
    place = ["launch", "tpu_vm", "--gin.PROJECT=p", "--gin.ZONE=z", "--gin.BUCKET=b"]
    for shape, wrong in (("4x4", "a slice of 4 hosts is one"), ("2x2", "is locked")):
        assert (
            main([*place, f"--gin.SLICE=v5e:{shape}", "--dry_run", "--", *command]) == 2
        )
        assert wrong in capsys.readouterr().err
    command.append("--storage=postgresql://me@host/trials")
    assert main([*place, "--gin.SLICE=v5e:2x2", "--dry_run", "--", *command]) == 0


def test_one_process_needs_no_coordinator(in_a_folder, capsys):
    command = ["train", *RUN, "--gin.MODEL_DIR=run"]
    assert launch("--num_processes=1", "--dry_run", command=command) == 0
    assert capsys.readouterr().out.endswith(f"{RUN[0]} --gin.MODEL_DIR=run\n")


def test_a_dry_run_of_t5x(in_a_folder, capsys):
    (in_a_folder / "src/t5x").mkdir(parents=True)
    flags = ["--gin.T5X_DIR=src", "--gin.PLATFORM=cpu", "--dry_run"]
    typed = "--gin_bindings=MODEL_DIR = '/tmp/run'"
    assert launch(*flags, command=[*T5X, typed]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(
        f"env PYTHONPATH={in_a_folder}/src JAX_PLATFORMS=cpu XLA_FLAGS="
    )
    assert f"{PYTHON} -m t5x.train {T5X[1]} " in first
    assert first.endswith(
        "--multiprocess_gpu --coordinator_address=127.0.0.1:4321 --process_count=2 "
        "--process_index=0"
    )
    assert second == first[:-1] + "1"


def test_a_folder_by_another_name_names_the_job(in_a_folder, capsys):
    (in_a_folder / "own.gin").write_text("PLACE = 'runs/my_run'\nMODEL_DIR = %PLACE\n")
    flags = ["--gin.NODES=1", f"--gin.SHARED_FOLDERS=['{in_a_folder}']", "--dry_run"]
    command = ["train", *RUN, "--gin_file=own.gin"]
    assert main(["launch", "slurm", *flags, "--", *command]) == 0
    assert "--job-name=my-run\n" in capsys.readouterr().out


def test_gin_files_of_generate_add_to_those_of_the_model(in_a_folder, capsys):
    (in_a_folder / "more.gin").write_text(
        "sharding.MeshConfig.model = %MODEL_PARALLEL\n"
    )
    flags = ["--model_dir=.", "--input=in.jsonl", "--output=out.jsonl"]
    command = ["generate", *flags, "--gin_file=more.gin"]
    assert launch("--dry_run", command=command) == 0
    assert " generate --model_dir=. --input=in.jsonl " in capsys.readouterr().out
    assert launch("--dry_run", command=[*command, "--gin_file=none.gin"]) == 2
    assert "a gin file cannot be found: none.gin" in capsys.readouterr().err


def test_gpus_are_shared_out(in_a_folder, capsys, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,3,5,GPU-7")
    command = ["train", *RUN, "--gin.MODEL_DIR=run"]
    flags = ["--num_processes=2", "--devices_per_process=2", "--dry_run"]
    flags += ["--gin.PLATFORM=gpu"]
    assert launch(*flags, command=command) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("env CUDA_VISIBLE_DEVICES=0,3 ")
    assert second.startswith("env CUDA_VISIBLE_DEVICES=5,GPU-7 ")
    assert launch(*flags, "--num_processes=3", command=command) == 2
    assert "is 6, and this machine has 4 GPUs" in capsys.readouterr().err


def test_no_gpus_are_taken_where_none_are_visible(in_a_folder, capsys, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    command = ["train", *RUN, "--gin.MODEL_DIR=run"]
    assert launch("--dry_run", command=command) == 0
    assert "JAX_PLATFORMS=cpu" in capsys.readouterr().out
    assert launch("--gin.PLATFORM=gpu", "--dry_run", command=command) == 2
    assert "is 2, and this machine has 0 GPUs" in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags, command, message",
    [
        ([], [], "COMMAND is one of train, generate, score, evaluate, sweep, t5x.train"),
        ([], ["evaluates"], "evaluates is no command that can be launched: train"),
        ([], ["train"], "no --gin_file is given"),
        ([], ["train", *RUN], "required settings are missing: MODEL_DIR"),
        ([], ["train", *RUN, "--gin.MODEL_DIR=gs://b/run"], "writes to folders"),
        ([], ["train", *RUN, "--gin.MODEL_DIR=r", "--gin.TRAIN_STEP=1"], "TRAIN_STEPS?"),
        ([], ["train", *RUN, "--gin.MODEL_DIR=r",
              "--gin.INITIAL_CHECKPOINT_PATH=/none"], "no checkpoint at /none"),
        ([], ["generate", "--model_dir=none", "--input=-", "--output=o"],
         "there is no such folder"),
        ([], ["generate", "--model_dir=.", "--input=-", "--output=o"],
         "which other hosts do not have"),
        ([], T5X, "t5x.train needs --gin.MODEL_DIR|required settings are missing"),
        ([], [*T5X, "--gin.MODEL_DIR=/tmp/run"], "text needs quotes of its own"),
        ([], [*T5X, "--gin.MODEL_DIR='r'", "--process_index=1"], "given by launch"),
        ([], ["t5x.eval"], "t5x.eval needs --gin_file"),
        (["--gin.T5X_DIR=missing"], [*T5X, "--gin.MODEL_DIR='r'"], "no such folder"),
        (["--retries=1"], ["train", *RUN, "--gin.MODEL_DIR=r", "--overwrite"],
         "each retry would delete"),
        (["--num_processes=0"], ["train", *RUN, "--gin.MODEL_DIR=r"], "at least 1"),
        (["--gin.PLATFORM=tpu"], ["train", *RUN, "--gin.MODEL_DIR=r"], "'cpu', 'gpu'"),
        (["--gin.ZONE=x"], ["train", *RUN], "sets a name that no gin file uses"),
        (["--gin.RETRIES=often"], ["train", *RUN], "RETRIES"),
        (["--launch_dir=gs://b/x"], ["train", *RUN, "--gin.MODEL_DIR=r"],
         "need a local folder"),
        (["--launch_dir=a\nb"], ["train", *RUN, "--gin.MODEL_DIR=r"], "several lines"),
        ([], [*T5X, "--gin_bindings=MODEL_DIR = r"], "text needs quotes of its own"),
        (["--name=A_B"], ["train", *RUN], "lower-case letters"),
    ],
)  # fmt: skip
def test_what_is_refused(in_a_folder, capsys, flags, command, message):
    assert launch(*flags, "--dry_run", command=command) == 2
    error = capsys.readouterr().err
    assert any(part in error for part in message.split("|")), error
    assert [*in_a_folder.iterdir()] == []


def test_an_unknown_target(capsys):
    with pytest.raises(SystemExit):
        main(["launch", "moon", "--", "train"])
    assert "invalid choice: 'moon' (choose from" in capsys.readouterr().err


def test_only_launch_has_a_second_command_line():
    assert launch_parser.split(["train", "--", "x"]) == (["train", "--", "x"], [])
    assert launch_parser.split(["launch", "local", "--", "train", "--", "x"]) == (
        ["launch", "local"],
        ["train", "--", "x"],
    )


def test_a_dry_run_imports_nothing_heavy(tmp_path):
    code = f"""
import json, sys
from dro_jax.cli.main import main
status = main({["launch", "local", "--dry_run", "--", "train", *RUN, "--gin.MODEL_DIR=r"]!r})
print(json.dumps([status, sorted({{"jax", "tensorflow", "seqio"}} & sys.modules.keys())]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert json.loads(done.stdout.splitlines()[-1]) == [0, []]
