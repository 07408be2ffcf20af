"""Training runs of a small network on arrays, shared by the training tests."""

import small
from array_data import ArrayDataset

from dro_jax.models.model import FeedbackModel
from dro_jax.objectives import NLL
from dro_jax.training import optimizers, schedules
from dro_jax.training.checkpoints import CheckpointConfig
from dro_jax.training.sharding import MeshConfig
from dro_jax.training.train import train

DATA = ArrayDataset()
HELD_OUT = ArrayDataset(num_records=16, num_epochs=1, split="validation", seed=1)


def optimizer(rate=3e-3, kind=None):
    return optimizers.OptimizerConfig(
        kind or optimizers.adamw(),
        schedules.learning_rate_schedule(learning_rate=rate, warmup_steps=5),
        max_grad_norm=1.0,
    )


def run(model_dir, objective=None, *, steps=20, value=None, network=None, **changes):
    settings = {
        "train_dataset_cfg": DATA,
        "optimizer": optimizer(),
        "log_period": 5,
        "eval_period": 10,
        "checkpoint_cfg": CheckpointConfig(period=5),
        "tensorboard": False,
        "mesh": MeshConfig(data=1),
    }
    model = FeedbackModel(
        network=network or small.NETWORK, objective=objective or NLL(), value=value
    )
    return train(
        model=model,
        model_dir=str(model_dir),
        total_steps=steps,
        **(settings | changes),
    )
