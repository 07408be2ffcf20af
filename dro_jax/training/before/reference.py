"""Where the reference's log-probabilities come from."""

import dataclasses
import functools
import pathlib
from typing import Literal, get_args

import jax
import numpy as np

from dro_jax.data.interface import START, Dataset, HostBatch, Position, Shard
from dro_jax.errors import ConfigError
from dro_jax.interop.policy_digest import digest_of
from dro_jax.messages import say
from dro_jax.models.model import FeedbackModel
from dro_jax.models.networks import Params
from dro_jax.models.t5_config import T5Config
from dro_jax.objectives.interface import Needs
from dro_jax.plurals import counted
from dro_jax.progress_bar import ProgressBar
from dro_jax.training import hosts, initialization
from dro_jax.training.before.reference_cache import ReferenceCache
from dro_jax.training.before.reference_logprobs import ReferenceLogprobs
from dro_jax.training.before.reference_pass import Forward, ReferencePass
from dro_jax.training.before.reference_share import Share
from dro_jax.training.before.reference_table import ReferenceTable
from dro_jax.training.compiled_together import CompiledTogether
from dro_jax.training.mesh_steps import MeshSteps
from dro_jax.training.preemption import StopSignal
from dro_jax.training.turns import one_computes
from dro_jax.training.watchdog import Watchdog

Mode = Literal["cached", "frozen_copy"]
_PART_SECONDS = 15.0
# What changes how a network is trained, stored or computed, and none of its numbers
# (attention: but for rounding, as devices and the rows that share a batch do).
_FREE = ("dropout_rate", "remat_policy", "scan_layers", "attention")


def check_mode(mode: str, setting: str) -> None:
    """Refuses a mode that does not exist.

    Args:
      mode: as in :class:`Reference`.
      setting: what a user calls it.

    Raises:
      ConfigError: the mode is unknown.
    """
    if mode not in get_args(Mode):
        raise ConfigError(
            f"{setting} = {mode!r} is unknown: use 'cached' or 'frozen_copy'"
        )


def mode_for(model: FeedbackModel, mode: Mode | None) -> Mode:
    """The mode of a model's reference: the one asked for, or that its objective needs.

    Raises:
      ConfigError: the mode is unknown.
    """
    if mode is not None:
        check_mode(mode, "reference")
    needs = model.objective.needs
    if needs.mismatched:
        return "frozen_copy"
    # What samples are like under the reference is computed once, and kept with them.
    if needs.prompt_values or needs.rollouts:
        return "cached"
    return mode or "cached"


def why_not(needs: Needs) -> str:
    """Why an objective's reference has one mode alone."""
    if needs.mismatched:
        return (
            "reads log-probabilities of mismatched pairs, which differ from batch to "
            "batch and cannot be cached"
        )
    if needs.rollouts:
        return "reads what the reference said of responses when they were sampled"
    return "reads the reference's log-probabilities of a whole split before it starts"


def check_path(model: FeedbackModel, path: str | None) -> None:
    """Refuses an objective with a reference where no checkpoint is given.

    Raises:
      ConfigError: the path is None, and the objective needs a reference.
    """
    if model.objective.needs.reference and path is None:
        raise ConfigError(
            f"{type(model.objective).__name__} is anchored to a reference policy, and "
            "INITIAL_CHECKPOINT_PATH (initial_checkpoint_path) is not set: name the "
            "checkpoint of the reference, for example one trained with the nll "
            "objective"
        )


class Reference:
    """The frozen policy that an objective is anchored to, as the trainer uses it.

    Args:
      model: whose policy network the reference shares.
      path: the checkpoint with its parameters; unused where the objective needs none.
      steps: where parameters and batches live; None where nothing is to be computed.
      mode: `cached`, every log-probability of a split computed once and kept on disk;
        `frozen_copy`, a second forward pass in every step. Default: `cached` where the
        objective allows it.
      cache_dir: where caches lie, a folder for each task and split; None where the
        mode keeps none.
      stop: asks a long computation to stop.
      watchdog: is told that a long computation moves.
      part_seconds: how much work a kill may cost.

    Raises:
      ConfigError: an unknown mode.
    """

    def __init__(
        self,
        model: FeedbackModel,
        path: str | None,
        steps: MeshSteps | None,
        *,
        mode: Mode | None = None,
        cache_dir: str | pathlib.Path | None,
        stop: StopSignal | None = None,
        watchdog: Watchdog | None = None,
        part_seconds: float = _PART_SECONDS,
    ):
        mode = mode_for(model, mode)
        self._model = model
        self._path = path
        self._steps = steps
        self._cache_dir = cache_dir and pathlib.Path(cache_dir)
        self._stop = stop or StopSignal()
        self._watchdog = watchdog or Watchdog(None)
        self._part_seconds = part_seconds
        self._needed = model.objective.needs.reference
        self._cached = self._needed and mode == "cached"
        self._fingerprint: str | None = None
        self._facts: dict[str, dict] = {}
        self.num_forwards = 0

    @functools.cached_property
    def step_params(self) -> Params | None:
        """What a step must be given: the frozen copy, or None; loaded when asked for."""
        return self.load() if self._needed and not self._cached else None

    def facts(self) -> dict[str, dict]:
        """By task and split: the cache's folder and how many batches this run ran."""
        return self._facts

    def table(self, dataset: Dataset) -> ReferenceTable | None:
        """Every log-probability of a split; None where they are not cached.

        Raises:
          CheckpointError: a cache was computed from something else, or is damaged.
          DataError: the split is empty.
          Preempted: the run was told to stop; what was computed is kept.
        """
        if not self._cached:
            return None
        (name, cache), forwards = self._cache_of(dataset), 0
        if not hosts.first_says(lambda: cache.table() is not None):
            with one_computes(
                cache.folder, "the reference cache", self._stop, self._watchdog
            ):
                # Again where another run had kept a part that begins where one of ours
                # did, and ends sooner.
                while not hosts.first_says(lambda: cache.table() is not None):
                    forwards += self._fill(dataset, name, cache, START, None)
        self._facts[name] = {"folder": str(cache.folder), "forward_passes": forwards}
        return cache.share_table()

    def compute_share(self, dataset: Dataset, share: Share) -> None:
        """Computes a share of a split's log-probabilities, and no table.

        Args:
          dataset: the split.
          share: which. The parts of all shares, copied into one cache's folder, make
            the whole.

        Raises:
          As :meth:`table`.
        """
        name, cache = self._cache_of(dataset)
        stretch = share.stretch(dataset)
        if stretch is None:
            say(f"{name}: the share {share} holds no records")
            return
        self._fill(dataset, name, cache, *stretch)

    def _cache_of(self, dataset: Dataset) -> tuple[str, ReferenceCache]:
        key = {
            "reference parameters": self.fingerprint(),
            **network_key(self._model.network_config),
            **dataset.fingerprint(),
            "token log-probs": str(self._model.objective.needs.token_logprobs),
        }
        name = f"{dataset.name}-{dataset.split}"
        # A folder of another host's own may hold something else than the first one's.
        return name, hosts.agree(lambda: ReferenceCache(self._cache_dir / name, key))

    def _fill(
        self,
        dataset,
        name: str,
        cache: ReferenceCache,
        start: Position,
        end: Position | None,
    ) -> int:
        """Computes what a cache lacks between two positions; gives how many batches."""
        say(f"computing the reference's log-probs of {name} …")
        found = hosts.first_says(lambda: cache.state(start, end))
        before = self.num_forwards
        label = f"reference log-probs ({name})"
        with ProgressBar(label, None, unit="records") as bar:
            bar.advance(found["count"])
            bar.restart()  # these were not computed now
            if found["stretches"]:
                work = ReferencePass(
                    self._counted_forward(),
                    self._steps.partitioner.shard(dataset.batch_size),
                    keep_tokens=self._model.objective.needs.token_logprobs,
                    part_seconds=self._part_seconds,
                    stop=self._stop,
                    watchdog=self._watchdog,
                )
                for begin, until in found["stretches"]:
                    stretch = tuple(begin), until and tuple(until)
                    work.compute(dataset, cache, stretch, bar)
            bar.say(counted(self.num_forwards - before, "forward pass"))
            say(f"  kept in {cache.folder}")
        return self.num_forwards - before

    def error_of(self, dataset: Dataset, table: ReferenceTable) -> float:
        """How far a table's first rows are from the same rows computed anew, in nats."""
        batch = next(dataset.one_pass(pack=True).batches())
        with self._steps.partitioner.context():
            values = self._forward()(self.load(), self._steps.put(batch))
        anew = ReferenceLogprobs.of_batch(batch, np.asarray(values), keep_tokens=False)
        kept = table.attach(batch)["reference_logprobs"]
        kept = kept[batch["trajectory_weights"] > 0]
        return float(np.max(np.abs(kept - anew.logprobs)))

    def _forward(self) -> CompiledTogether:
        replicated = self._steps.partitioner.replicated
        return CompiledTogether(
            jax.jit(self._model.token_logprobs, out_shardings=replicated)
        )

    def _counted_forward(self) -> Forward:
        forward, params = self._forward(), self.load()

        def run(batch: HostBatch, shard: Shard) -> np.ndarray:
            with self._steps.partitioner.context():
                values = np.asarray(forward(params, self._steps.put(batch, shard)))
            self.num_forwards += 1
            return values

        return run

    def load(self) -> Params:
        """The policy's parameters in the checkpoint, on the devices."""
        layout = self._steps.layout
        return initialization.load_policy_params(
            self._model.network_config,
            self._path,
            self._model.policy_params(layout.shapes),
            self._model.policy_params(layout.shardings),
        )

    def fingerprint(self) -> str:
        """A digest of the reference's parameters: their names, types and every byte.

        As they are stored, so that it is the same for any model that reads them.
        """
        if self._fingerprint is None:
            # The others need not read all of a large model for it.
            self._fingerprint = hosts.first_says(lambda: digest_of(self._path))
        return self._fingerprint


def network_key(config: T5Config) -> dict[str, str]:
    """The settings of a network that its numbers depend on, by name.

    Those of earlier caches, and a later one only where it is set.
    """
    is_set = {
        "float32_residual": config.float32_residual,
        "logits_dtype": config.logits_dtype != "float32",
    }
    return {
        f"network {field.name}": str(getattr(config, field.name))
        for field in dataclasses.fields(config)
        if field.name not in _FREE and is_set.get(field.name, True)
    }
