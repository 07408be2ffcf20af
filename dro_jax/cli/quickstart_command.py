"""`dro-jax quickstart`: a reference by NLL, DRO-V from it, and a comparison."""

import dataclasses
import functools
import pathlib
import time
from collections.abc import Sequence

import numpy as np

from dro_jax.cli import gin_setup
from dro_jax.cli.configuration_diff import Configuration
from dro_jax.cli.evaluate_command import evaluate
from dro_jax.cli.outputs import Output
from dro_jax.cli.parser import build_parser
from dro_jax.cli.runs_to_report import reported_runs
from dro_jax.cli.train_command import train_from_gin
from dro_jax.data.tasks import feedback_task
from dro_jax.errors import ConfigError
from dro_jax.evaluation import comparison_table
from dro_jax.evaluation.evaluated_run import EvaluatedRun
from dro_jax.evaluation.given_responses import evaluated_given
from dro_jax.evaluation.reward_picture import draw
from dro_jax.messages import is_first
from dro_jax.models.decoding import DecodingConfig
from dro_jax.paths import make_folder
from dro_jax.reporting.report import write_report
from dro_jax.reporting.reported_run import ReportedRun
from dro_jax.rewards.task_reward import TRUE_REWARD, FunctionReward
from dro_jax.training.hosts import agree

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
    _compare(policy_dir, files, seed, began)


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


def _compare(
    policy_dir: pathlib.Path, files: dict[str, Output], seed: int, began: float
) -> None:
    flags = [str(policy_dir), f"--seed={seed}", f"--batch_size={_BATCH_SIZE}"]
    arguments = build_parser().parse_args(["evaluate", *flags])
    arguments.gin_bindings = []
    found = evaluate(arguments)
    if not is_first():
        return
    before, after = (
        dataclasses.replace(run, label=label)
        for run, label in zip(found.runs, ("reference", "DRO-V"), strict=True)
    )
    everything = [before, after, *_given(before)]
    print(f"\n{comparison_table.table(everything)}\n")
    print(comparison_table.examples([before, after]))
    seconds = time.monotonic() - began
    files["json"].write_json(_content(everything, seconds))
    title = "Quickstart: support desk, aligned by DRO-V from noisy thumbs"
    files["png"].write_picture(
        functools.partial(draw, everything, TRUE_REWARD, title=title)
    )
    rows = reported_runs(found.folders, found.name)
    rows += [ReportedRun(own, is_policy=False) for own in everything[2:]]
    folder = make_folder(policy_dir.parent / "report", "--output_dir")
    page = write_report(rows, folder, title=title)
    places = ", ".join([str(page), *(file.path for file in files.values())])
    print(f"{seconds:.0f} s in all. Report: {places}")


def _given(run: EvaluatedRun) -> list[EvaluatedRun]:
    """What was logged for a run's prompts, and the best that could be said to them."""
    task = feedback_task(run.settings["task"])
    logged = task.records(run.settings["split"])
    places = np.arange(len(logged))
    texts = zip(
        logged.texts(places, "inputs"), logged.texts(places, "targets"), strict=True
    )
    best = [(one.prompt, task.best_response_fn(one.prompt)) for one in run.responses]
    rewards = [FunctionReward(task.reward_fn)]
    return [
        evaluated_given(label, pairs, task.vocabulary, rewards, run.settings)
        for label, pairs in (("logged data", texts), ("best possible", best))
    ]


def _content(runs: Sequence[EvaluatedRun], seconds: float) -> dict:
    keys = ("reference", "dro_v", "logged", "best_possible")
    policies = {run.label: _figures(run) for run in runs}
    return {
        "reward": dict(
            zip(keys, (own["reward"] for own in policies.values()), strict=True)
        ),
        "kl": policies["DRO-V"]["kl"],
        "seconds": seconds,
        "policies": policies,
    }


def _figures(run: EvaluatedRun) -> dict:
    reward, kl = run.figures["reward"], run.figures.get("kl")
    return {
        "reward": reward.value,
        "reward_interval": [reward.low, reward.high],
        "kl": kl and kl.value,
        "distinct_2": run.figures["distinct_2"].value,
        "length": run.figures["length"].value,
        "responses": len(run.responses),
    }
