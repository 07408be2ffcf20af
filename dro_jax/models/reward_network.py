"""A reward model: a T5 encoder over prompt and response together, a pool, a number."""

import dataclasses
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen import partitioning

from dro_jax.errors import ConfigError
from dro_jax.models import layers
from dro_jax.models.attention_mask import AttentionMask
from dro_jax.models.attention_pool import AttentionPool
from dro_jax.models.joined_tokens import JoinedTokens, joined
from dro_jax.models.networks import Batch, Params
from dro_jax.models.t5_config import T5Config
from dro_jax.models.t5_stacks import Encoder
from dro_jax.models.value import ValueHead

REWARD = "reward"  # the name of the subtree beside encoder and token_embedder
Pool = Literal["mean", "response_mean", "attention"]
_HIGHEST = jax.lax.Precision.HIGHEST


@dataclasses.dataclass(frozen=True)
class RewardConfig:
    """How a reward model's score is read from the encoder's states.

    Attributes:
      pool: `mean`, over the tokens of prompt and response; `response_mean`, over those
        of the response, whose states have seen the prompt; `attention`, one learned
        query over all (`dro_jax.models.attention_pool`), with as many heads as the
        network has.

    Raises:
      ConfigError: the pool is unknown.
    """

    pool: Pool = "mean"

    def __post_init__(self):
        if self.pool not in get_args(Pool):
            raise ConfigError(
                f"RewardConfig.pool = {self.pool!r} (POOL) is unknown: use one of "
                + ", ".join(map(repr, get_args(Pool)))
            )


class RewardNetwork(nn.Module):
    """Scores of the trajectories of a batch's rows.

    Encoder and embedding have T5X's names, so that any T5 checkpoint initialises them;
    pool and head lie under `reward`.

    Attributes:
      network: the encoder's sizes; its decoder is not built.
      config: how scores are read.
    """

    network: T5Config
    config: RewardConfig

    def setup(self) -> None:
        cfg = self.network
        self.token_embedder = layers.Embed(
            cfg.vocab_size, cfg.emb_dim, cfg.residual_dtype
        )
        self.encoder = Encoder(cfg)
        self.reward = _Readout(cfg, self.config)

    def __call__(self, batch: Batch, *, enable_dropout: bool = False) -> jax.Array:
        """``[B, S]`` float32 scores; those of empty places mean nothing.

        Args:
          batch: B rows of S trajectories, as in the design's batch contract.
          enable_dropout: uses the ``dropout`` random stream.
        """
        tokens = joined(batch)
        return tokens.by_row(self.of_joined(tokens, enable_dropout=enable_dropout))

    def of_joined(
        self, tokens: JoinedTokens, *, enable_dropout: bool = False
    ) -> jax.Array:
        """``[BK, G]`` scores of rows in which prompt and response are one already."""
        states = self.encoder(
            self.token_embedder(tokens.tokens),
            AttentionMask(tokens.segments, tokens.segments),
            deterministic=not enable_dropout,
        )
        return self.reward(states, tokens, enable_dropout)


class _Readout(nn.Module):
    """Pool and head, in float32."""

    network: T5Config
    config: RewardConfig

    @nn.compact
    def __call__(self, states, tokens: JoinedTokens, enable_dropout: bool):
        own = tokens.owned(response_only=self.config.pool == "response_mean")
        if self.config.pool == "attention":
            pool = AttentionPool(
                self.network.num_heads, self.network.dropout_rate, name="pool"
            )
            pooled = pool(states, own, enable_dropout=enable_dropout)
        else:
            mask = own.astype(jnp.float32)
            # TPUs and GPUs would round the states to fewer bits for the product.
            totals = jnp.einsum(
                "bsl,bld->bsd", mask, states.astype(jnp.float32), precision=_HIGHEST
            )
            pooled = totals / jnp.maximum(jnp.sum(mask, axis=2), 1.0)[..., None]
        return ValueHead(name="head")(pooled)


class RewardNetworks:
    """What `FeedbackModel` runs in place of a policy where scores are trained.

    Args:
      network: the encoder's sizes.
      config: how scores are read.
    """

    policy = None
    value = None

    def __init__(self, network: T5Config, config: RewardConfig):
        self._module = RewardNetwork(network, config)

    def init(self, rng: jax.Array, batch: Batch) -> tuple[Params, Params]:
        """Random parameters for batches shaped as `batch`, and their logical axes."""
        variables = self._module.init(rng, batch)
        params, axes = dict(variables["params"]), dict(variables["params_axes"])
        # The pool, which is small, is on every device whole.
        if pool := params[REWARD].get("pool"):
            whole = {
                f"{name}_axes": partitioning.AxisMetadata((None,) * leaf.ndim)
                for name, leaf in pool.items()
            }
            axes[REWARD] = {**axes[REWARD], "pool": whole}
        return params, axes

    def scores(
        self, params: Params, batch: Batch, dropout_rng: jax.Array | None = None
    ) -> jax.Array:
        """``[B, S]`` float32 scores."""
        return self._module.apply(
            {"params": params},
            batch,
            enable_dropout=dropout_rng is not None,
            rngs={} if dropout_rng is None else {"dropout": dropout_rng},
        )

    def _no_policy(self, *_, **__) -> Any:
        raise ConfigError(
            "a reward model has no policy: it gives no log-probabilities and writes no "
            "responses, it scores them (dro-jax reward)"
        )

    run = policy_token_logprobs = policy_logprobs = log_ratios = _no_policy
