"""The run that `tests/kill_and_resume.py` kills: real data, packed, with dropout."""

import dataclasses
import json
import pathlib
import random

import cheap_compilation
import small

from dro_jax.data.dataset import DatasetConfig
from dro_jax.data.sources import JsonlSource
from dro_jax.data.tasks import register_feedback_task
from dro_jax.models.model import FeedbackModel
from dro_jax.objectives import DROV, NLL
from dro_jax.training import optimizers, schedules
from dro_jax.training.checkpoints import CheckpointConfig
from dro_jax.training.sharding import MeshConfig
from dro_jax.training.train import train

_TASK = "kill_and_resume"
_LENGTHS = {"inputs": 48, "targets": 32}
_NETWORK = dataclasses.replace(small.NETWORK, vocab_size=384, dropout_rate=0.1)


def prepare(folder: str, devices: int) -> None:
    """Write the data and train the reference."""
    _use(devices)
    draw = random.Random(0)
    for split, count in (("train", 300), ("validation", 16)):
        with (pathlib.Path(folder) / f"{split}.jsonl").open("w") as file:
            for _ in range(count):
                words = [draw.choice("abcdefgh") * draw.randint(1, 8) for _ in range(3)]
                record = {
                    "prompt": " ".join(words),
                    "response": " ".join(words[: draw.randint(1, 3)]),
                    "reward": round(draw.gauss(0, 1), 3),
                }
                file.write(json.dumps(record) + "\n")
    train(
        model=FeedbackModel(network=_NETWORK, objective=NLL()),
        model_dir=f"{folder}/reference",
        total_steps=4,
        checkpoint_cfg=CheckpointConfig(),
        **_settings(folder, devices),
    )


def run(folder: str, devices: int, model_dir: str, steps: int, save_period: int) -> None:
    """Train, or go on."""
    _use(devices)
    train(
        model=FeedbackModel(network=_NETWORK, objective=DROV()),
        model_dir=model_dir,
        total_steps=steps,
        checkpoint_cfg=CheckpointConfig(period=save_period, keep=2),
        initial_checkpoint_path=f"{folder}/reference",
        step_zero_tolerance=1e3,  # dropout is on, to compare its random keys too
        log_period=1,
        eval_period=7,
        train_eval_dataset_cfg=_data("validation", num_epochs=1, shuffle=False),
        **_settings(folder, devices),
    )


def differences(whole: pathlib.Path, other: pathlib.Path, step: int) -> list[str]:
    """Which arrays and facts of two runs' checkpoints of a step are not bitwise alike."""
    import jax
    import numpy as np
    import orbax.checkpoint as ocp

    found = []

    def read(folder):
        # To the host: whoever compares has other devices than the runs had.
        state = folder / f"checkpoint_{step}" / "state"
        with ocp.PyTreeCheckpointer() as checkpointer:
            tree = checkpointer.metadata(state).item_metadata.tree
            to_host = ocp.RestoreArgs(restore_type=np.ndarray)
            return checkpointer.restore(
                state, restore_args=jax.tree.map(lambda _: to_host, tree)
            )

    trees = [read(folder) for folder in (whole, other)]
    paths = [jax.tree_util.tree_flatten_with_path(tree)[0] for tree in trees]
    for (path, a), (_, b) in zip(*paths, strict=True):
        if np.asarray(a).tobytes() != np.asarray(b).tobytes():
            found.append(jax.tree_util.keystr(path))
    facts = [
        (folder / f"checkpoint_{step}" / "run" / "metadata").read_text()
        for folder in (whole, other)
    ]
    if facts[0] != facts[1]:
        found.append("the run's progress (data position)")
    return found


def _use(devices: int) -> None:
    cheap_compilation.configure(devices)


def _settings(folder: str, devices: int) -> dict:
    import jax

    jax.config.update("jax_compilation_cache_dir", f"{folder}/compiled")
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    register_feedback_task(
        _TASK,
        JsonlSource(
            {split: f"{folder}/{split}.jsonl" for split in ("train", "validation")}
        ),
        vocabulary="byte",
    )
    model = 2 if devices > 1 else 1
    return {
        "train_dataset_cfg": _data("train"),
        "optimizer": optimizers.OptimizerConfig(
            optimizers.adamw(),
            schedules.learning_rate_schedule(learning_rate=1e-3, warmup_steps=5),
        ),
        "mesh": MeshConfig(data=devices // model, model=model, fsdp=devices > 1),
        "tensorboard": False,
    }


def _data(split: str, **settings) -> DatasetConfig:
    return DatasetConfig(
        mixture_or_task_name=_TASK,
        task_feature_lengths=_LENGTHS,
        split=split,
        batch_size=8,
        pack=True,
        max_trajectories_per_row=3,
        packing_window=40,
        **settings,
    )
