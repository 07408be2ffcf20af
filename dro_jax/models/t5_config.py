"""The shape of a T5 and how it is computed."""

import dataclasses
from collections.abc import Callable

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from dro_jax.errors import ConfigError
from dro_jax.messages import note
from dro_jax.models.attention_choice import SETTINGS

REMAT_POLICIES = ("none", "minimal", "full")
_T5_ROWS = 32128  # T5's 32,100 pieces
_ROWS_MULTIPLE = 128  # splits over devices and fits their tiles, as T5's


@dataclasses.dataclass(frozen=True)
class T5Config:
    """The shape of a T5 and how it is computed; field names are T5X's.

    Attributes:
      vocab_size: rows of the embedding table; None, those of T5, 32,128.
      emb_dim, num_heads, num_encoder_layers, num_decoder_layers, head_dim, mlp_dim:
        sizes.
      mlp_activations: ``('relu',)`` for T5 1.0, ``('gelu', 'linear')`` for 1.1.
      dropout_rate: used only by calls with ``enable_dropout``.
      logits_via_embedding: ties the output layer to the embedding (T5 1.0).
      float32_attention_logits: accumulates attention logits in float32.
      float32_residual: keeps the residual stream and the decoder's last states in
        float32 whatever the dtype, so that log-probabilities round less.
      dtype: activation dtype; parameters, softmaxes and norms are float32.
      logits_dtype: of the logits that log-probabilities are computed from, but for those
        of responses as they are generated; their sums are float32 whatever it is.
      remat_policy: what the backward pass recomputes: ``none``, ``minimal`` (all but
        matrix products with parameters, and attention that makes no matrices) or
        ``full`` (each layer from its input).
      scan_layers: stacks the layers in one array and scans over them.
      attention: what computes attention where nothing is decoded, numbers but for
        rounding the same: ``dense``, matrices of all pairs of positions; ``blocks``, a
        block of them at a time; ``kernel``, a TPU's own, or ``interpreted``, the same
        very slowly anywhere, for tests; ``auto``, what is fastest on the devices.

    Raises:
      ConfigError: for an unknown remat policy, attention or activation, or sizes below
        one.
    """

    vocab_size: int  # None is replaced
    emb_dim: int = 512
    num_heads: int = 8
    num_encoder_layers: int = 6
    num_decoder_layers: int = 6
    head_dim: int = 64
    mlp_dim: int = 2048
    mlp_activations: tuple[str, ...] = ("relu",)
    dropout_rate: float = 0.1
    logits_via_embedding: bool = False
    float32_attention_logits: bool = False
    float32_residual: bool = False
    dtype: DTypeLike = "float32"
    logits_dtype: DTypeLike = "float32"
    remat_policy: str = "none"
    scan_layers: bool = False
    attention: str = "auto"

    @property
    def residual_dtype(self) -> DTypeLike:
        """Of what is added up from layer to layer."""
        return jnp.dtype("float32") if self.float32_residual else self.dtype

    def __post_init__(self):
        if self.vocab_size is None:
            object.__setattr__(self, "vocab_size", _T5_ROWS)
        object.__setattr__(self, "mlp_activations", tuple(self.mlp_activations))
        for name in ("dtype", "logits_dtype"):
            object.__setattr__(self, name, jnp.dtype(getattr(self, name)))
        if self.logits_dtype not in (jnp.float32, jnp.bfloat16):
            raise ConfigError(
                f"T5Config.logits_dtype is {self.logits_dtype} (LOGITS_DTYPE); choose "
                "'float32' or 'bfloat16'."
            )
        if self.remat_policy not in REMAT_POLICIES:
            raise ConfigError(
                f"T5Config.remat_policy is {self.remat_policy!r}; "
                f"choose one of {', '.join(REMAT_POLICIES)}."
            )
        if self.attention not in SETTINGS:
            raise ConfigError(
                f"T5Config.attention is {self.attention!r} (ATTENTION); "
                f"choose one of {', '.join(SETTINGS)}."
            )
        for name in self.mlp_activations:
            if name != "linear" and not callable(getattr(nn, name, None)):
                raise ConfigError(
                    f"T5Config.mlp_activations names {name!r}, which is no function "
                    "of flax.linen; T5 1.0 has ('relu',), T5 1.1 ('gelu', 'linear')."
                )
        if not 0 <= self.dropout_rate < 1:
            raise ConfigError(
                f"T5Config.dropout_rate is {self.dropout_rate} (DROPOUT_RATE); give the "
                "share of activations to drop, from 0 to below 1."
            )
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type is int and value < 1:
                raise ConfigError(f"T5Config.{field.name} is {value}; give at least 1.")


def rows_for(vocabulary) -> int:
    """The rows that an embedding needs for a vocabulary, a multiple of 128 as T5's."""
    return -(-vocabulary.vocab_size // _ROWS_MULTIPLE) * _ROWS_MULTIPLE


def note_spare_rows(
    vocabulary, vocab_size: int, tell: Callable[[str], None] = note
) -> None:
    """Tells of an embedding of twice the rows that a vocabulary needs, or more; None passes."""
    if vocabulary is None:
        return
    needed = rows_for(vocabulary)
    if vocab_size >= 2 * needed:
        tell(
            f"the network has {vocab_size:,} rows for a vocabulary of "
            f"{vocabulary.vocab_size:,} pieces: the others are of no use, and cost memory "
            f"and time. A run that starts from nothing needs VOCAB_SIZE = {needed}; one "
            "from a checkpoint, the vocabulary that the checkpoint was trained with"
        )


def check_vocabulary(vocabulary, vocab_size: int, side: str = "task's") -> None:
    """Refuse a vocabulary with ids beyond the network's embedding; None passes.

    Raises:
      ConfigError: it has more pieces than the embedding has rows.
    """
    if vocabulary is not None and vocabulary.vocab_size > vocab_size:
        raise ConfigError(
            f"the {side} vocabulary has {vocabulary.vocab_size} pieces but "
            f"T5Config.vocab_size is {vocab_size}: token ids would fall outside the "
            "embedding. Use the vocabulary the model was made for, or set vocab_size "
            f"(VOCAB_SIZE in gin) to {rows_for(vocabulary)}"
        )
