"""`dro-jax` commands as several processes run them, for `several_processes`."""

import contextlib
import io
import json
import os
import shutil

from several_processes import Place
from small_gin import SIZES

RECORDS = [
    {"prompt": f"say {word}", "response": word, "reward": float(len(word)), "n": n}
    for n, word in enumerate(
        ("yes", "no", "maybe", "later", "now", "never", "höchstens")
    )
]
FILES = [
    f"--gin_file=gin_configs/{path}.gin"
    for path in ("models/tiny", "objectives/nll", "tasks/jsonl", "runs/train")
]
# Seven records in batches of eight rows and of four: the last is not full.
COMMANDS = {
    "greedy": ("generate", "prompts", "--temperature=0", "--batch_size=8"),
    "sampled": ("generate", "prompts", "--num_samples=3", "--batch_size=4"),
    "spread": (
        "generate",
        "prompts",
        "--batch_size=4",
        "--gin.MODEL_PARALLEL=2",
        "--gin.FSDP=True",
    ),
    "scored": ("score", "pairs", "--batch_size=3"),
}


def write_records(path) -> None:
    """Writes the records as JSON lines."""
    path.write_text("".join(json.dumps(record) + "\n" for record in RECORDS))


def train_and_serve(place: Place, folder: str, outputs: str) -> None:
    """Trains a model in `FOLDER/model`, and runs all of `COMMANDS`."""
    settings = {
        "MODEL_DIR": f"'{folder}/model'",
        "TRAIN_PATH": f"'{folder}/pairs.jsonl'",
        "TRAIN_STEPS": 30,
        "BATCH_SIZE": 8,
        "LOG_PERIOD": 10,
        "EVAL_DATASET": None,
        "OPTIMIZER": "@optimizers.adamw()",
        "LEARNING_RATE": 0.02,
        "WARMUP_STEPS": 5,
        "TASK_FEATURE_LENGTHS": "{'inputs': 12, 'targets': 8}",
    }
    flags = [f"--gin.{name}={value}" for name, value in (settings | SIZES).items()]
    assert _main("train", *FILES, *flags) == 0
    serve(place, folder, outputs)


def serve(place: Place, folder: str, outputs: str) -> None:
    """All of `COMMANDS`, one after another, in processes that have met."""
    from dro_jax import messages

    if place.rank == 0:
        shutil.rmtree(f"{folder}/model/evaluations", ignore_errors=True)
    place.join()
    messages.set_process(place.rank, place.count)
    for name, (command, source, *flags) in COMMANDS.items():
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            status = _main(
                command,
                f"--model_dir={folder}/model",
                f"--input={folder}/{source}.jsonl",
                f"--output={outputs}/{name}.jsonl",
                *flags,
            )
        assert status == 0
        assert (said.getvalue() == "") == (place.rank > 0), said.getvalue()
    assert _main("env") == 0
    # Against its own checkpoint, whose log-probabilities are computed for themselves.
    flags = ("--split=train", f"--reference={folder}/model/checkpoint_30")
    written = f"--output={outputs}/evaluated.json"
    assert _main("evaluate", f"{folder}/model", written, *flags, "--batch_size=4") == 0


def command(place: Place, stdin: str, *words: str) -> int:
    """One command, whose processes find one another by its flags."""
    if stdin:
        # What only the first process has.
        source = os.open(stdin if place.rank == 0 else os.devnull, os.O_RDONLY)
        os.dup2(source, 0)
    return _main(
        *words,
        f"--coordinator=127.0.0.1:{place.port}",
        f"--num_processes={place.count}",
        f"--process_id={place.rank}",
    )


def _main(*words: str) -> int:
    import gin

    from dro_jax.cli.main import main

    gin.clear_config()
    return main(list(words))
