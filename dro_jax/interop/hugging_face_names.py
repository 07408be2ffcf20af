"""Where each T5 parameter lies in Hugging Face's state dict, and its shape in ours."""

from collections.abc import Iterator

from dro_jax.models.t5 import T5Config

NUM_BUCKETS = 32

_PROJECTIONS = {"query": "q", "key": "k", "value": "v", "out": "o"}
# Our attention, the norm before it, and the Hugging Face module, in order of sublayer.
_ATTENTIONS = {
    "encoder": [("attention", "pre_attention_layer_norm", "SelfAttention")],
    "decoder": [
        ("self_attention", "pre_self_attention_layer_norm", "SelfAttention"),
        (
            "encoder_decoder_attention",
            "pre_cross_attention_layer_norm",
            "EncDecAttention",
        ),
    ],
}


def _layer_names(stack: str, mlp: list[str]) -> Iterator[tuple[str, str]]:
    """Paths within one of our layers and names within one of theirs."""
    attentions = _ATTENTIONS[stack]
    for i, (attention, norm, module) in enumerate(attentions):
        yield f"{norm}/scale", f"{i}.layer_norm.weight"
        for ours, theirs in _PROJECTIONS.items():
            yield f"{attention}/{ours}/kernel", f"{i}.{module}.{theirs}.weight"
    last = len(attentions)
    yield "pre_mlp_layer_norm/scale", f"{last}.layer_norm.weight"
    for dense in mlp:
        yield f"mlp/{dense}/kernel", f"{last}.DenseReluDense.{dense}.weight"


def parameter_names(config: T5Config) -> dict[str, str]:
    """Maps the path of each parameter (layers not stacked) to Hugging Face's name."""
    names = {"token_embedder/embedding": "shared.weight"}
    if not config.logits_via_embedding:
        names["decoder/logits_dense/kernel"] = "lm_head.weight"
    branches = len(config.mlp_activations)
    mlp = ["wi"] if branches == 1 else [f"wi_{i}" for i in range(branches)]
    num_layers = {
        "encoder": config.num_encoder_layers,
        "decoder": config.num_decoder_layers,
    }
    for stack in _ATTENTIONS:
        names[f"{stack}/{stack}_norm/scale"] = f"{stack}.final_layer_norm.weight"
        names[f"{stack}/relpos_bias/rel_embedding"] = (
            f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        )
        for i in range(num_layers[stack]):
            for ours, theirs in _layer_names(stack, [*mlp, "wo"]):
                names[f"{stack}/layers_{i}/{ours}"] = (
                    f"{stack}.block.{i}.layer.{theirs}"
                )
    return names


def is_transposed(path: str) -> bool:
    """Whether Hugging Face stores the parameter with its axes swapped.

    torch keeps a linear map as ``[out, in]``, and T5's biases as ``[buckets, heads]``.
    """
    return path.endswith(("/kernel", "/rel_embedding"))


def parameter_shape(path: str, config: T5Config) -> tuple[int, ...]:
    """The shape of a parameter in our layout (layers not stacked)."""
    joined = config.num_heads * config.head_dim
    module = path.split("/")[-2]
    if path.endswith("/scale"):
        return (config.emb_dim,)
    if module.startswith("wi"):
        return (config.emb_dim, config.mlp_dim)
    return {
        "token_embedder": (config.vocab_size, config.emb_dim),
        "logits_dense": (config.emb_dim, config.vocab_size),
        "relpos_bias": (config.num_heads, NUM_BUCKETS),
        "out": (joined, config.emb_dim),
        "wo": (config.mlp_dim, config.emb_dim),
    }.get(module, (config.emb_dim, joined))
