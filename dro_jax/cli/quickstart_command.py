"""`dro-jax quickstart`: a reference by NLL, DRO-V from it, and a comparison."""

import functools
import pathlib
import time
from collections.abc import Sequence

import numpy as np

from dro_jax.cli import gin_setup
from dro_jax.cli.configuration_diff import Configuration
from dro_jax.cli.outputs import Output
from dro_jax.cli.restored import mesh_settings
from dro_jax.cli.train_command import train_from_gin
from dro_jax.data.inputs import Input, input_batches
from dro_jax.errors import ConfigError
from dro_jax.evaluation import report
from dro_jax.evaluation.policy_evaluation import evaluate_policy, evaluate_responses
from dro_jax.interop import formats
from dro_jax.models.decoding import DecodingConfig
from dro_jax.paths import make_folder
from dro_jax.training.hosts import agree
from dro_jax.training.initialization import stored_params
from dro_jax.training.sharding import MeshConfig

_RUNS = "dro_jax/gin_configs/runs/quickstart_{}.gin"
_BATCH_SIZE = 125


def run(arguments) -> None:
    """Train the two policies through the ordinary trainer and compare them."""
    if arguments.steps is not None and arguments.steps < 1:
        raise ConfigError(f"--steps must be at least 1, got {arguments.steps}")
    DecodingConfig(seed=arguments.seed)  # refuses what is no seed, before the work
    quickstart(
        pathlib.Path(arguments.output_dir), seed=arguments.seed, steps=arguments.steps
    )


def quickstart(
    output: pathlib.Path,
    *,
    seed: int = 0,
    steps: int | None = None,
    bindings: Sequence[str] = (),
) -> None:
    """What the command does.

    Args:
      output: the folder for both models and the report.
      seed: of parameters, data order and sampling.
      steps: of each of the two runs; default those of their run files.
      bindings: further gin bindings for both runs.
    """
    began = time.monotonic()
    files = agree(lambda: _files(output))
    common = [f"RANDOM_SEED = {seed}", *bindings]
    reference_dir, policy_dir = output / "reference", output / "dro_v"
    print("1/3  train the reference by NLL on the logged replies", flush=True)
    _train("reference", reference_dir, [*_limit("reference", steps), *common])
    print("2/3  align it with DRO-V on the thumbs", flush=True)
    start = [f"INITIAL_CHECKPOINT_PATH = {str(reference_dir)!r}"]
    _train("dro_v", policy_dir, [*_limit("dro_v", steps), *common, *start])
    print("3/3  sample replies to unseen prompts and score them", flush=True)
    _compare(reference_dir, policy_dir, files, seed, began)


def _files(output: pathlib.Path) -> dict[str, Output]:
    folder = make_folder(output, "--output_dir")
    return {
        kind: Output.at("--output_dir", folder / name)
        for kind, name in (("json", "report.json"), ("png", "report.png"))
    }


def _train(name: str, model_dir: pathlib.Path, bindings: list[str]) -> None:
    files = [_RUNS.format(name)]
    train_from_gin(files, [f"MODEL_DIR = {str(model_dir)!r}", *bindings])


def _limit(name: str, steps: int | None) -> list[str]:
    """Bindings for so many steps, in which the warmup of the run's file must end."""
    if steps is None:
        return []
    file = gin_setup.GinFiles([_RUNS.format(name)], [])
    warmup = Configuration.of(file.statements).macros["WARMUP_STEPS"]
    return [f"TRAIN_STEPS = {steps}", f"WARMUP_STEPS = {min(warmup, steps - 1)}"]


def _compare(reference_dir, policy_dir, files, seed, began) -> None:
    # The configuration parsed last, DRO-V's, gives model and task.
    model = gin_setup.macro("MODEL")
    lengths = gin_setup.macro("TASK_FEATURE_LENGTHS")
    task = gin_setup.macro("EVAL_DATASET").tasks()[0]
    logged = task.records("validation")
    every = np.arange(len(logged))
    prompts = logged.texts(every, "inputs")
    inputs = [Input({}, prompt) for prompt in prompts]
    mesh = MeshConfig(**mesh_settings()).build()
    batch_size = mesh.num_rows(_BATCH_SIZE)
    shard = mesh.shard(batch_size)
    batches = list(input_batches(task, inputs, lengths, batch_size, shard))
    config = DecodingConfig(max_decode_length=lengths["targets"], seed=seed)
    reference_params, policy_params = (
        stored_params(model, formats.open_model(folder), mesh, value=False)
        for folder in (reference_dir, policy_dir)
    )

    def evaluate(name, params):
        return evaluate_policy(
            name, model, params, reference_params, inputs, batches, task.vocabulary,
            task.reward_fn, config, mesh, shard=shard,
        )  # fmt: skip

    reference = evaluate("reference", reference_params)
    dro_v = evaluate("DRO-V", policy_params)
    logs = evaluate_responses(
        "logged data", prompts, logged.texts(every, "targets"), task.reward_fn
    )
    best = evaluate_responses(
        "best possible",
        prompts,
        [task.best_response_fn(prompt) for prompt in prompts],
        task.reward_fn,
    )
    everything = [reference, dro_v, logs, best]
    print("\n" + report.table(everything) + "\n")
    print(report.samples(prompts, reference, dro_v))
    seconds = time.monotonic() - began
    files["json"].write_json(_content(reference, dro_v, logs, best, seconds))
    title = "Quickstart: support desk, aligned by DRO-V from noisy thumbs"
    files["png"].write_picture(functools.partial(report.draw, everything, title=title))
    places = ", ".join(file.path for file in files.values())
    print(f"{seconds:.0f} s in all. Report: {places}")


def _content(reference, dro_v, logs, best, seconds) -> dict:
    return {
        "reward": {
            "reference": reference.reward,
            "dro_v": dro_v.reward,
            "logged": logs.reward,
            "best_possible": best.reward,
        },
        "kl": dro_v.kl,
        "seconds": seconds,
        "policies": {
            evaluation.name: evaluation.to_json()
            for evaluation in (reference, dro_v, logs, best)
        },
    }
