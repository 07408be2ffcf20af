"""What the benchmarks train: a mini T5 on feedback as long as that of HHA."""

import functools
import itertools
import os
import pathlib
import tempfile
from collections.abc import Iterator

import jax
import numpy as np
import optax

from dro_jax.data import registry
from dro_jax.data.dataset import DatasetConfig
from dro_jax.data.interface import HostBatch
from dro_jax.data.record_source import RecordSource
from dro_jax.data.records import RawRecord
from dro_jax.data.tasks import register_feedback_task
from dro_jax.models.model import FeedbackModel
from dro_jax.models.t5_config import T5Config
from dro_jax.models.value import ValueConfig
from dro_jax.objectives import NLL
from dro_jax.objectives.interface import Objective
from dro_jax.training import optimizers, schedules
from dro_jax.training.before.run_plan import RunPlan, plan_run
from dro_jax.training.checkpoints import CheckpointConfig, Checkpointer
from dro_jax.training.mesh_steps import MeshSteps
from dro_jax.training.run_progress import RunProgress
from dro_jax.training.run_settings import ReferenceSettings, RunData
from dro_jax.training.sharding import MeshConfig

LENGTHS = {"inputs": 512, "targets": 256}
ROWS = 4
_SYNTHETIC = "benchmark_feedback"
_NUM_RECORDS = 8192

# gin_configs/models/mini.gin, with HHA's vocabulary.
MINI = T5Config(
    vocab_size=8064,
    emb_dim=256,
    num_heads=4,
    num_encoder_layers=3,
    num_decoder_layers=3,
    head_dim=64,
    mlp_dim=512,
    mlp_activations=("gelu", "linear"),
    dropout_rate=0.0,
)


def dataset(*, pack: bool, group_size: int | None = None) -> DatasetConfig:
    """HHA's train split where DRO_JAX_DATA has it, else texts of the same lengths."""
    folder = os.environ.get("DRO_JAX_DATA")
    real = folder and (pathlib.Path(folder) / "hha" / "train.jsonl.gz").exists()
    if not real and _SYNTHETIC not in registry.task_names():
        _register_synthetic()
    return DatasetConfig(
        mixture_or_task_name="hha" if real else _SYNTHETIC,
        module="dro_jax.tasks.hha" if real else None,
        task_feature_lengths=LENGTHS,
        batch_size=ROWS,
        pack=pack,
        group_size=group_size,
    )


def plan(
    objective: Objective,
    *,
    pack: bool = True,
    group_size: int | None = None,
    value: ValueConfig | None = None,
    network: T5Config | None = None,
    devices: int = 1,
) -> RunPlan:
    """A run's plan, with every check of a run; its reference has random parameters.

    Args:
      objective: what is trained.
      pack: whether rows are shared.
      group_size: responses that share a prompt; None, each has its own.
      value: its value estimate.
      network: of the policy; default `MINI`.
      devices: over which a batch is spread.
    """
    network = network or MINI
    path = _reference(network).name if objective.needs.reference else None
    return plan_run(
        FeedbackModel(network=network, objective=objective, value=value),
        RunData(train=dataset(pack=pack, group_size=group_size)),
        ReferenceSettings(path=path, cache_dir=path and f"{path}/reference_cache"),
        model_dir=None,
        mesh=MeshConfig(data=devices),
        tell=lambda sentence: None,
    )


def batches(run: RunPlan, count: int) -> list[HostBatch]:
    """The first batches; what a run computes before is there and means nothing.

    A step's time does not depend on these numbers, and the reference's
    log-probabilities of a whole split would take many times as long as the benchmark.
    """
    iterator = map(run.example, run.data.train.batches())
    return list(itertools.islice(iterator, count))


def steps(
    run: RunPlan,
    example: HostBatch,
    optimizer: optax.GradientTransformation | None = None,
) -> MeshSteps:
    """Train steps on the run's devices; by default with the paper's optimiser."""
    if optimizer is None:
        rate = schedules.learning_rate_schedule(learning_rate=1e-4, warmup_steps=150)
        config = optimizers.OptimizerConfig(optimizers.adafactor(), rate)
        optimizer = config.build()
    key = jax.random.key(0)
    return MeshSteps(run.model, optimizer, run.partitioner, example, key=key)


class Trainer:
    """Runs steps one after another, as a training loop does."""

    def __init__(self, mesh_steps: MeshSteps, *, frozen_copy: bool = False):
        self._steps = mesh_steps
        self.state = mesh_steps.start(None, jax.random.key(1))
        self._reference = None
        if frozen_copy:
            policy = FeedbackModel.policy_params(self.state.params)
            self._reference = jax.tree.map(lambda x: x.copy(), policy)

    def run(self, given: list[HostBatch]) -> None:
        """A step a batch; waits for the last."""
        metrics = None
        for batch in given:
            self.state, metrics = self._steps.train(self.state, batch, self._reference)
        jax.block_until_ready((self.state.step, metrics))


@functools.cache
def _reference(network: T5Config) -> tempfile.TemporaryDirectory:
    """A checkpoint of random parameters, deleted when the process ends."""
    folder = tempfile.TemporaryDirectory(prefix="dro_jax_benchmark_")
    run = plan(NLL(), network=network)
    first = steps(run, *batches(run, 1))
    checkpointer = Checkpointer(folder.name, CheckpointConfig(), ranked=False)
    checkpointer.save(first.start(None, jax.random.key(1)), RunProgress())
    checkpointer.close()
    return folder


class _Records(RecordSource):
    """Texts whose lengths in bytes are spread as HHA's lengths in pieces are."""

    @property
    def splits(self) -> tuple[str, ...]:
        return ("train",)

    def description(self) -> str:
        return "made-up texts"

    def records(self, split: str) -> Iterator[RawRecord]:
        # Log-normal lengths with the mean and spread of the logarithms of HHA's.
        rng = np.random.default_rng(0)
        prompts = np.exp(rng.normal(np.log(80), 1.1, _NUM_RECORDS)).astype(int) + 1
        responses = np.exp(rng.normal(np.log(40), 0.97, _NUM_RECORDS)).astype(int) + 1
        rewards = rng.normal(size=_NUM_RECORDS).astype(np.float32)
        for number, reward in enumerate(rewards.tolist()):
            fields = {
                "prompt": "a" * prompts[number],
                "response": "b" * responses[number],
                "reward": reward,
            }
            yield RawRecord(f"record {number}", fields=fields)


def _register_synthetic() -> None:
    register_feedback_task(_SYNTHETIC, _Records(), vocabulary="byte")
