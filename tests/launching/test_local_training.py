"""`dro-jax launch local` from its command line to a trained model."""

import json
import subprocess
import sys

import pytest
from small_gin import SIZES

RECORDS = [
    {"prompt": f"p{i}", "response": "yes" if i % 2 else "no", "reward": i % 2}
    for i in range(16)
]
SETTINGS = {
    "MODEL_DIR": "run",
    "TRAIN_STEPS": 2,
    "BATCH_SIZE": 4,
    "CHECKPOINT_PERIOD": 2,
    "LOG_PERIOD": 1,
    "DECAY": "constant",
    "WARMUP_STEPS": 0,
    "EVAL_DATASET": None,
    "TRAIN_PATH": "log.jsonl",
    "TASK_FEATURE_LENGTHS": "{'inputs':8,'targets':8}",
    **SIZES,
}


@pytest.mark.slow
def test_two_processes_train_one_model(tmp_path):
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, RECORDS)))
    files = ("models/tiny", "objectives/nll", "tasks/jsonl", "runs/train")
    words = [
        *(sys.executable, "-m", "dro_jax.cli.main", "launch", "local"),
        *("--num_processes=2", "--devices_per_process=1", "--gin.PLATFORM=cpu", "--"),
        *("train", *(f"--gin_file=dro_jax/gin_configs/{name}.gin" for name in files)),
        *(f"--gin.{name}={value}" for name, value in SETTINGS.items()),
    ]
    done = subprocess.run(
        words, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    metrics = (tmp_path / "run/metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in metrics] == [1, 2]
    assert (tmp_path / "run/checkpoint_2").is_dir()
    first, second = (
        (tmp_path / f"launched/run/logs/rank_{n}.log").read_text() for n in (0, 1)
    )
    assert "process 0: one of 2" in first and "the model is in" in first
    assert "process 0: one of 2" in done.stderr and "the model is in" in done.stderr
    assert "process 1: one of 2" in second and "process 1: one of 2" not in done.stderr
