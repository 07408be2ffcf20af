"""What commands import on their way, in a process of its own."""

import os
import subprocess
import sys

CODE = """
import sys
from dro_jax.cli.main import main

out = sys.argv[1]
with open(f"{out}/prompts.jsonl", "w") as file:
    file.write('{"prompt": "where is my parcel?"}')
train = [
    "train",
    "--gin_file=dro_jax/gin_configs/runs/quickstart_reference.gin",
    f"--gin.MODEL_DIR={out}/run",
    "--gin.TRAIN_STEPS=2",
    "--gin.WARMUP_STEPS=1",
    "--gin.EVAL_DATASET=None",
]
generate = [
    "generate",
    f"--model_dir={out}/run",
    f"--input={out}/prompts.jsonl",
    f"--output={out}/answers.jsonl",
]
for command in (["tasks", "list"], train, generate):
    assert main(command) == 0
    slow = {"tensorflow", "tensorflow_datasets", "seqio", "scipy.stats", "matplotlib"}
    print("imported:", sorted(slow & set(sys.modules)), file=sys.stderr)
"""


def test_no_command_waits_for_tensorflow(tmp_path):
    """Nor where nothing is prepared, so that a first start reads and tokenises."""
    environment = os.environ | {"DRO_JAX_PREPARED_DIR": str(tmp_path / "prepared")}
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("imported: []\n") == 3
    assert "importing TensorFlow" not in done.stderr
    assert '"prompt": "where is my parcel?"' in (tmp_path / "answers.jsonl").read_text()
