"""Small runs of `dro-jax train` in one or several processes, with everything on.

They read a log of text, keep a cached reference or a frozen copy, evaluate and save.
"""

import json
import os
import pathlib
import random
import signal
import time
from typing import Any

from several_processes import Place, run_together
from small_gin import SIZES

STAND_STILL = signal.SIGUSR1
SPLITS = {"train": 300, "validation": 16}
_COMMON = {
    "TASK_FEATURE_LENGTHS": {"inputs": 48, "targets": 32},
    "BATCH_SIZE": 8,
    "OPTIMIZER": "@optimizers.adamw()",
    "LEARNING_RATE": 1e-3,
    "WARMUP_STEPS": 5,
    "LOG_PERIOD": 1,
    "EVAL_PERIOD": 7,
    "KEEP_CHECKPOINTS": 2,
    "train.train.tensorboard": False,
}
_PACKED = {
    "PACK": True,
    "dataset.DatasetConfig.max_trajectories_per_row": 3,
    "dataset.DatasetConfig.packing_window": 40,
}
# Dropout, to compare its random keys too; the reference has none.
_DROPOUT = {"DROPOUT_RATE": 0.1, "train.train.step_zero_tolerance": 1e3}
# Responses sampled and scored at each evaluation; for any case.
SAMPLED = {
    "SAMPLED_EVALUATION": "@sampled_evaluation.SampledEvaluation()",
    "sampled_evaluation.SampledEvaluation.num_prompts": 6,
    "sampled_evaluation.SampledEvaluation.rewards": "@rewards.Length()",
    "sampled_evaluation.SampledEvaluation.num_texts": 2,
}
# Rounds of samples beside the log's rows, of a policy a round ago, the reference moved.
ONLINE = {
    "FRESH_SAMPLES": "@fresh_samples.FreshSamples()",
    "fresh_samples.FreshSamples.num_prompts": 20,
    "fresh_samples.FreshSamples.rewards": "@rewards.Length()",
    "fresh_samples.FreshSamples.epochs": 2,
    "fresh_samples.FreshSamples.lag": 1,
    "fresh_samples.FreshSamples.log_share": 0.5,
    "fresh_samples.FreshSamples.move_reference_every": 7,
}
_IMPORTS = """\
from __gin__ import dynamic_registration
from dro_jax import rewards
from dro_jax.evaluation import sampled_evaluation
from dro_jax.models import t5_config
from dro_jax.training import optimizers
from dro_jax.training import train
from dro_jax.training.before import value_fit
from dro_jax.training.online import fresh_samples
"""
# What each case has beside its objective's file.
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    # The smallest program with a reference; no value, no dropout.
    "dro_p": ("dro_p", _PACKED),
    "dro_v": ("dro_v", _PACKED | _DROPOUT),
    "split": (
        "dro_v",
        _PACKED | _DROPOUT | {"FSDP": True, "MODEL_PARALLEL": 2},
    ),
    "a_lol": (
        "a_lol",
        {"train.train.value_fit": "@value_fit.ValueFitConfig()"}
        | {"value_fit.ValueFitConfig.num_epochs": 3}
        | {"value_fit.ValueFitConfig.num_heads": 2},
    ),
    "kto": ("kto", {"REFERENCE": "'frozen_copy'"}),
}


def prepare(folder: pathlib.Path, *, devices: int = 1) -> None:
    """Writes the log and trains what all runs start from.

    Args:
      folder: of the log and the runs; made.
      devices: of the one process that trains.
    """
    write_log(folder)
    flags = _flags(folder, "nll", MODEL_DIR=str(folder / "reference"), TRAIN_STEPS=4)
    logs = folder / "logs"
    run_together(train, *flags, count=1, devices=devices, timeout=300, logs=logs)


def write_log(folder: pathlib.Path) -> None:
    """Writes the log that all runs read.

    Args:
      folder: made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    draw = random.Random(0)
    for split, count in SPLITS.items():
        with (folder / f"{split}.jsonl").open("w") as file:
            for _ in range(count):
                words = [draw.choice("abcdefgh") * draw.randint(1, 8) for _ in range(3)]
                record = {
                    "prompt": " ".join(words),
                    "response": " ".join(words[: draw.randint(1, 3)]),
                    "reward": round(draw.gauss(0, 1), 3),
                }
                file.write(json.dumps(record) + "\n")


def gin_text(folder: pathlib.Path, **settings: Any) -> str:
    """A gin file of what all runs have in common, for those that are started otherwise.

    Args:
      folder: as prepared.
      settings: gin names and values beside.
    """
    every = (_COMMON | SIZES | _data(folder) | settings).items()
    lines = (f"{name} = {_as_gin(value)}" for name, value in every)
    return "\n".join((_IMPORTS, *lines, ""))


def flags_of(
    folder: pathlib.Path, case: str, model_dir: pathlib.Path, **settings: Any
) -> list[str]:
    """The flags of a case's command.

    Args:
      folder: as prepared.
      case: a name of `CASES`.
      model_dir: of the run.
      settings: gin names and values; text that begins with `@` is a reference of gin's.
    """
    objective, own = CASES[case]
    start = {"INITIAL_CHECKPOINT_PATH": str(folder / "reference")}
    return _flags(
        folder, objective, MODEL_DIR=str(model_dir), **(own | start | settings)
    )


def _flags(folder: pathlib.Path, objective: str, **settings: Any) -> list[str]:
    files = ("models/tiny", f"objectives/{objective}", "tasks/jsonl", "runs/train")
    return [
        "train",
        f"--prepared_dir={folder / 'prepared'}",
        *(f"--gin_file=gin_configs/{name}.gin" for name in files),
        f"--gin_file={_imports(folder)}",
        *(
            f"--gin.{name}={_as_gin(value)}"
            for name, value in (_COMMON | SIZES | _data(folder) | settings).items()
        ),
    ]


def _data(folder: pathlib.Path) -> dict[str, str]:
    return {f"{split.upper()}_PATH": str(folder / f"{split}.jsonl") for split in SPLITS}


def _imports(folder: pathlib.Path) -> pathlib.Path:
    """A gin file that names what the flags set and no file of the run imports."""
    path = folder / "imports.gin"
    path.write_text(_IMPORTS)
    return path


def _as_gin(value: Any) -> str:
    if isinstance(value, str) and not value.startswith(("@", "'")):
        return repr(value)
    return str(value)


def train(place: Place, *flags: str) -> int:
    """`dro-jax` as one process of a run."""
    from dro_jax.cli.main import main

    return main([*flags, *place.flags])


def train_but(place: Place, own: dict[int, list[str]], *flags: str) -> int:
    """`dro-jax` as one process of a run, some of which have flags of their own.

    Its main thread sleeps from a `STAND_STILL` on, while other threads go on.
    """
    signal.signal(STAND_STILL, lambda *_: time.sleep(3600))
    return train(place, *flags, *own.get(place.rank, []))


def keep_compiled(folder: pathlib.Path) -> None:
    """Programs are compiled once for all runs that start after this; for scripts."""
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(folder))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")
