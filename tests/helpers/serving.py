"""`dro-jax` commands as several processes run them, for `several_processes`."""

import contextlib
import io
import json
import os

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
    _evaluate(f"{folder}/model", f"{outputs}/evaluated-{place.rank}.json")


def _evaluate(model_dir: str, output: str) -> None:
    """The policy against itself, rewarded for its length, as `quickstart` evaluates."""
    import argparse

    from dro_jax.cli.restored import restore
    from dro_jax.data.inputs import Input, input_batches
    from dro_jax.evaluation.policy_evaluation import evaluate_policy
    from dro_jax.models.decoding import DecodingConfig

    options = {"gin_file": [], "gin_bindings": [], "gin_search_paths": "", "step": None}
    restored = restore(
        argparse.Namespace(model_dir=model_dir, allow_import=[], **options)
    )
    inputs = [Input({}, record["prompt"]) for record in RECORDS]
    shard = restored.mesh.shard(4)
    evaluation = evaluate_policy(
        "policy",
        restored.model,
        restored.params,
        restored.params,
        inputs,
        list(input_batches(restored.task, inputs, restored.lengths, 4, shard)),
        restored.task.vocabulary,
        lambda prompt, response: float(len(prompt) - len(response)),
        DecodingConfig(max_decode_length=8),
        restored.mesh,
        shard=shard,
    )
    with open(output, "w", encoding="utf-8") as file:
        json.dump([evaluation.responses, evaluation.to_json()], file)


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
