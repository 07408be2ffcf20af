"""Rewards by a reward model of our own, from the folder of the run that trained it."""

import functools
import os
import pathlib
from collections.abc import Iterator, Sequence

import jax
import numpy as np
from flax import traverse_util

from dro_jax.data.encoding import encoded, padded, truncations
from dro_jax.data.kept_vocabulary import kept_vocabulary
from dro_jax.errors import ConfigError
from dro_jax.interop.network_shape import differences
from dro_jax.interop.reward_model_files import open_reward_model
from dro_jax.models.joined_tokens import JoinedTokens
from dro_jax.models.reward_network import RewardNetwork
from dro_jax.rewards.cached import Keep, keep_nothing
from dro_jax.rewards.fingerprints import fingerprint
from dro_jax.rewards.interface import Scores

_BUCKET = 32  # tokens: rows are padded to a multiple of it
_READ_AT_ONCE = 4096


class RewardModel:
    """Scores by a model that `dro-jax train` made with a reward model's objective.

    A score is that of the response alone: rows are filled to one size, and padded to a
    length that the text itself decides, so that batches and devices do not show in it
    but in its last bits. With several processes, each scores what it is given.

    Of the run's folder only parameters, `reward_model/settings.json` and the vocabulary
    beside it are read: nothing that it says is called.

    Args:
      model_dir: the run's folder.
      step: of the checkpoint; None, the newest.
      batch_size: rows of a batch, over all local devices.
      name: what tables and logs call it.

    Raises:
      CheckpointError: there is no reward model, or it cannot be read.
      ConfigError: a setting cannot be used.
    """

    def __init__(
        self,
        model_dir: str | os.PathLike,
        *,
        step: int | None = None,
        batch_size: int = 64,
        name: str = "reward_model",
    ):
        if not model_dir:
            raise ConfigError(
                "RewardModel.model_dir (REWARD_MODEL_DIR) is not set: give the folder of "
                "a run of gin_configs/objectives/reward_regression.gin or bradley_terry.gin"
            )
        if batch_size < 1:
            raise ConfigError(f"RewardModel.batch_size is {batch_size}: give 1 or more")
        self.name = name
        self._stored = open_reward_model(pathlib.Path(model_dir), step)
        settings = self._stored.settings
        self._network = RewardNetwork(settings.network, settings.reward)
        self._check_shapes()
        devices = np.array(jax.local_devices())
        self._rows = -(-batch_size // len(devices)) * len(devices)
        self._mesh = jax.sharding.Mesh(devices, ("data",))
        self._apply = jax.jit(self._scores_of)

    @functools.cached_property
    def fingerprint(self) -> str:
        """A digest of the parameters, of the network and of how texts are read."""
        return fingerprint(type(self).__name__, self._stored.fingerprint())

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> Scores:
        """Scores of N responses, in units of the rewards that the model was trained on.

        Args:
          prompts: as a policy reads them, with a task's template put on.
          responses: one to each.
        """
        return self.score(prompts, responses, keep_nothing)

    def score(
        self, prompts: Sequence[str], responses: Sequence[str], keep: Keep
    ) -> Scores:
        """As a call; `keep` is given (rows, their scores) batch by batch."""
        if len(prompts) != len(responses):
            raise ValueError(
                f"{len(prompts)} prompts and {len(responses)} responses: give one each"
            )
        total = np.empty(len(prompts), np.float64)
        for start in range(0, len(prompts), _READ_AT_ONCE):
            part = slice(start, start + _READ_AT_ONCE)
            tokens, is_response = self._encoded(prompts[part], responses[part])
            for rows, found in self._by_length(tokens, is_response):
                total[start + rows] = found
                keep((start + rows).tolist(), Scores(np.asarray(found, np.float64)))
        return Scores(total)

    def _by_length(
        self, tokens: np.ndarray, is_response: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Places of texts and their scores, those of like lengths together."""
        lengths = (tokens > 0).sum(1)
        buckets = np.minimum(-(-lengths // _BUCKET) * _BUCKET, tokens.shape[1])
        for width in np.unique(buckets):
            places = np.flatnonzero(buckets == width)
            for first in range(0, len(places), self._rows):
                rows = places[first : first + self._rows]
                fill = [(0, self._rows - len(rows)), (0, 0)]
                batch = JoinedTokens(
                    tokens=np.pad(tokens[rows, :width], fill),
                    segments=np.pad(tokens[rows, :width] > 0, fill).astype(np.int32),
                    is_response=np.pad(is_response[rows, :width], fill),
                )
                batch = jax.device_put(batch, self._sharding("data"))
                yield rows, np.asarray(self._apply(self._params, batch))[: len(rows)]

    def _scores_of(self, params, batch: JoinedTokens) -> jax.Array:
        scores = self._network.apply({"params": params}, batch, method="of_joined")
        return scores[:, 0]

    def _encoded(
        self, prompts: Sequence[str], responses: Sequence[str]
    ) -> tuple[np.ndarray, np.ndarray]:
        """``[N, L + T]`` tokens, padding behind, and which are the response's."""
        settings = self._stored.settings
        sides = settings.truncation["inputs"], settings.truncation["targets"]
        cuts = truncations(settings.lengths, sides)
        rows = [
            padded(encoded(self._vocabulary, list(texts), cut), cut.limit)
            for texts, cut in zip((prompts, responses), cuts, strict=True)
        ]
        tokens = np.concatenate(rows, 1)
        kinds = np.concatenate([np.full(x.shape, i > 0) for i, x in enumerate(rows)], 1)
        # Stable: tokens keep their order, and padding goes behind them all.
        order = np.argsort(tokens == 0, axis=1, kind="stable")
        tokens, kinds = (np.take_along_axis(x, order, 1) for x in (tokens, kinds))
        return tokens, kinds & (tokens > 0)

    @functools.cached_property
    def _vocabulary(self):
        return kept_vocabulary(self._stored.settings.vocabulary, self._stored.folder)

    @functools.cached_property
    def _params(self):
        everywhere = self._sharding()
        leaves = {
            name: leaf.place(everywhere).astype(np.float32)
            for name, leaf in self._stored.params.items()
        }
        return traverse_util.unflatten_dict(leaves, sep="/")

    def _sharding(self, *axes: str) -> jax.sharding.NamedSharding:
        spec = jax.sharding.PartitionSpec(*axes)
        return jax.sharding.NamedSharding(self._mesh, spec)

    def _check_shapes(self) -> None:
        """Refuses parameters that are not those of the network in the settings."""
        row = np.ones((1, 2), np.int32)
        wanted = jax.eval_shape(
            lambda: self._network.init(
                jax.random.key(0), JoinedTokens(row, row, row > 0), method="of_joined"
            )
        )["params"]
        problems = differences(
            _shapes(traverse_util.flatten_dict(wanted, sep="/")),
            _shapes(self._stored.params),
            "the network in settings.json",
        )
        if problems:
            raise ConfigError(
                f"{self._stored.checkpoint} does not fit {self._stored.folder}: {problems}"
            )


def _shapes(leaves) -> dict[str, tuple[int, ...]]:
    return {name: tuple(leaf.shape) for name, leaf in leaves.items()}
