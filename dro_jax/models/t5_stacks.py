"""The encoder's and decoder's layers, unrolled or scanned, and their relative biases."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen import partitioning

from dro_jax.models import attention_residuals, layers
from dro_jax.models.attention import Attention
from dro_jax.models.attention_choice import implementation
from dro_jax.models.attention_mask import AttentionMask
from dro_jax.models.t5_config import T5Config

# Where scan_layers puts the axis 'layers' in each parameter, as T5X.
PARAM_SCAN_AXIS = 1
# What REMAT_POLICY = 'minimal' keeps of a layer. Products with weights, which have no batch
# axes; not those between activations, dense attention's, large and cheap. What the
# backward pass of attention without matrices reads, else it would attend twice.
_KEPT = jax.checkpoint_policies.save_from_both_policies(
    jax.checkpoint_policies.checkpoint_dots_with_no_batch_dims,
    jax.checkpoint_policies.save_only_these_names(*attention_residuals.NAMES),
)


def _attention(config: T5Config, name: str, deterministic: bool, cross=False):
    return Attention(
        num_heads=config.num_heads,
        head_dim=config.head_dim,
        cross=cross,
        split_heads=config.scan_layers,
        dropout_rate=config.dropout_rate,
        deterministic=deterministic,
        float32_logits=config.float32_attention_logits,
        dtype=config.dtype,
        implementation=config.attention,
        name=name,
    )


def _mlp(config: T5Config, deterministic: bool):
    return layers.Mlp(
        hidden_dim=config.mlp_dim,
        activations=config.mlp_activations,
        dropout_rate=config.dropout_rate,
        deterministic=deterministic,
        dtype=config.dtype,
        name="mlp",
    )


def _relative_bias(
    config: T5Config,
    bidirectional: bool,
    query_length: int,
    key_length: int,
    position: jax.Array | None = None,
) -> jax.Array:
    """Of each pair, ``[1, H, Q, K]``, or of each diagonal where that is enough."""
    bias = layers.RelativePositionBias(
        config.num_heads, bidirectional, name="relpos_bias"
    )(query_length, key_length, position)
    if position is None and _is_dense(config, query_length, key_length):
        return layers.skew(bias, query_length, key_length)[None]
    return bias


def _is_dense(config: T5Config, query_length: int, key_length: int) -> bool:
    return implementation(config.attention, query_length, key_length) == "dense"


def _as_attended(config: T5Config, mask: AttentionMask) -> AttentionMask | jax.Array:
    """As a matrix, made once for all layers, where attention is dense."""
    lengths = mask.query_segment_ids.shape[1], mask.key_segment_ids.shape[1]
    return mask.matrix() if _is_dense(config, *lengths) else mask


class _Layer(nn.Module):
    """What the layers of both stacks share: pre-norm residual branches."""

    config: T5Config
    deterministic: bool = True

    def _norm(self, x, name):
        x = layers.LayerNorm(self.config.dtype, name=name)(x)
        return layers.constrain(x, ("batch", "length", "embed"))

    def _residual(self, x, branch):
        branch = nn.Dropout(self.config.dropout_rate, broadcast_dims=(-2,))(
            branch, deterministic=self.deterministic
        )
        return layers.constrain(
            x + branch.astype(x.dtype), ("batch", "length", "embed")
        )


class EncoderLayer(_Layer):
    """Self-attention and feed-forward."""

    @nn.compact
    def __call__(self, x, mask, bias):
        """Maps ``[B, L, D]`` to itself; returns a pair, as a scan's body must."""
        if bias is None:
            bias = _relative_bias(self.config, True, x.shape[1], x.shape[1])
        attention = _attention(self.config, "attention", self.deterministic)
        y = self._norm(x, "pre_attention_layer_norm")
        x = self._residual(x, attention(y, mask=mask, bias=bias))
        y = self._norm(x, "pre_mlp_layer_norm")
        return self._residual(x, _mlp(self.config, self.deterministic)(y)), None


class DecoderLayer(_Layer):
    """Causal self-attention, attention to the encoder, and feed-forward."""

    cache_length: int | None = None

    @nn.compact
    def __call__(self, x, encoded, self_mask, cross_mask, bias, position):
        """Maps ``[B, T, D]`` to itself; returns a pair, as a scan's body must."""
        cfg, cache_length = self.config, self.cache_length
        if bias is None:
            key_length = cache_length or x.shape[1]
            bias = _relative_bias(cfg, False, x.shape[1], key_length, position)
        attention = _attention(cfg, "self_attention", self.deterministic)
        y = self._norm(x, "pre_self_attention_layer_norm")
        y = attention(
            y, None, self_mask, bias, position=position, cache_length=cache_length
        )
        x = self._residual(x, y)
        attention = _attention(
            cfg, "encoder_decoder_attention", self.deterministic, cross=True
        )
        y = self._norm(x, "pre_cross_attention_layer_norm")
        y = attention(y, encoded, cross_mask, cache_length=cache_length)
        x = self._residual(x, y)
        y = self._norm(x, "pre_mlp_layer_norm")
        return self._residual(x, _mlp(cfg, self.deterministic)(y)), None


class _Stack(nn.Module):
    """Runs the layers of the encoder or the decoder, unrolled or scanned."""

    config: T5Config

    def _run_layers(self, layer_cls, num_layers, name, x, *shared, **fields):
        cfg = self.config
        if cfg.remat_policy != "none":
            layer_cls = partitioning.remat(
                layer_cls,
                # Within a scan XLA cannot merge what is recomputed with the forward
                # pass; elsewhere it would, and undo the saving.
                prevent_cse=not cfg.scan_layers,
                policy=_KEPT if cfg.remat_policy == "minimal" else None,
            )
        if not cfg.scan_layers:
            for i in range(num_layers):
                x, _ = layer_cls(cfg, name=f"layers_{i}", **fields)(x, *shared)
            return x
        initializing = self.is_mutable_collection("params")
        params_axis = PARAM_SCAN_AXIS
        # Parameters are made by the scan at the start and only read later: as inputs
        # alone they are not stacked again behind it.
        scanned = partitioning.scan_with_axes(
            layer_cls,
            variable_axes={
                "params": params_axis
                if initializing
                else partitioning.ScanIn(params_axis),
                "cache": 0,
            },
            split_rngs={"params": True, "dropout": True},
            in_axes=(nn.broadcast,) * len(shared),
            length=num_layers,
            axis_name="layers",
        )
        x, _ = scanned(cfg, name=name, **fields)(x, *shared)
        return x

    def _dropout(self, x, deterministic, broadcast_dims=(-2,)):
        return nn.Dropout(self.config.dropout_rate, broadcast_dims=broadcast_dims)(
            x, deterministic=deterministic
        )


class Encoder(_Stack):
    """The encoder's stack of layers."""

    @nn.compact
    def __call__(self, x, mask, *, deterministic):
        """Encodes embedded tokens ``[B, L, D]``."""
        cfg, length = self.config, x.shape[1]
        bias = None
        if not cfg.scan_layers:
            bias = _relative_bias(cfg, True, length, length)
        x = self._dropout(x, deterministic)
        x = self._run_layers(
            EncoderLayer,
            cfg.num_encoder_layers,
            "encoder",
            x,
            _as_attended(cfg, mask),
            bias,
            deterministic=deterministic,
        )
        x = layers.LayerNorm(cfg.dtype, name="encoder_norm")(x)
        # As T5X: here alone each position has a mask of its own.
        return self._dropout(x, deterministic, broadcast_dims=())


class Decoder(_Stack):
    """The decoder's stack of layers and its output layer."""

    def setup(self) -> None:
        if not self.config.logits_via_embedding:
            self.logits_dense = layers.Dense(
                (self.config.vocab_size,), ("embed", "vocab")
            )

    @nn.compact
    def __call__(
        self, x, encoded, self_mask, cross_mask, *, deterministic, cache_length=None
    ):
        """Decodes embedded tokens ``[B, T, D]`` into final hidden states."""
        cfg, position, bias = self.config, None, None
        if cache_length is not None:
            filled = self.has_variable("cache", "position")
            step = self.variable("cache", "position", jnp.zeros, (), jnp.int32)
            began = self.variable("cache", "began", jnp.zeros, len(x), jnp.int32)
            position = step.value
            # The cache is a ring: each place has the last step that came there. A row
            # sees the steps since its own began.
            age = (position - jnp.arange(cache_length)) % cache_length
            began.value = layers.constrain(began.value, ("batch",))
            own = age[None] <= (position - began.value)[:, None]
            self_mask = own[:, None, None, :]
            # The first call makes an empty cache, and takes no step.
            if filled:
                step.value = position + 1
        else:
            self_mask = _as_attended(cfg, self_mask)
            cross_mask = _as_attended(cfg, cross_mask)
        if not cfg.scan_layers:
            key_length = cache_length or x.shape[1]
            bias = _relative_bias(cfg, False, x.shape[1], key_length, position)
        x = self._run_layers(
            DecoderLayer,
            cfg.num_decoder_layers,
            "decoder",
            self._dropout(x, deterministic),
            encoded,
            self_mask,
            cross_mask,
            bias,
            position,
            deterministic=deterministic,
            cache_length=cache_length,
        )
        x = layers.LayerNorm(cfg.residual_dtype, name="decoder_norm")(x)
        return self._dropout(x, deterministic)

    def logits(self, hidden):
        """Applies the untied output layer in float32."""
        return self.logits_dense(hidden)
