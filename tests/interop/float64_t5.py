"""T5 in NumPy float64, written from the paper: the exact value of a golden's logits."""

import numpy as np

from dro_jax.models.layers import relative_position_buckets


def norm(x, params):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-6) * params["scale"]


def bias(params, length, bidirectional):
    buckets = relative_position_buckets(32, 128, bidirectional)
    distance = np.arange(length)[None, :] - np.arange(length)[:, None]
    return params["rel_embedding"][:, buckets[distance + 128]][None]


def attention(params, queries, keys, mask, bias, num_heads):
    def split(name, x):
        return (x @ params[name]["kernel"]).reshape(*x.shape[:2], num_heads, -1)

    logits = np.einsum("bqhd,bkhd->bhqk", split("query", queries), split("key", keys))
    logits = np.where(mask, logits + bias, -1e30)
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    attended = np.einsum("bhqk,bkhd->bqhd", weights, split("value", keys))
    return attended.reshape(*queries.shape[:2], -1) @ params["out"]["kernel"]


def mlp(params, x):
    if "wi" in params:
        hidden = np.maximum(x @ params["wi"]["kernel"], 0)
    else:
        gate = x @ params["wi_0"]["kernel"]
        cubic = np.sqrt(2 / np.pi) * (gate + 0.044715 * gate**3)
        hidden = 0.5 * gate * (1 + np.tanh(cubic)) * (x @ params["wi_1"]["kernel"])
    return hidden @ params["wo"]["kernel"]


def logits(config, params, prompts, inputs):
    """Logits ``[B, T, V]``; padding at the end of responses is not masked.

    A stack has one relative position bias, or each of its layers has one, as in umT5.
    """
    heads, table = config.num_heads, params["token_embedder"]["embedding"]
    prompt_mask = (prompts > 0)[:, None, None]
    stack, length = params["encoder"], prompts.shape[1]
    x = table[prompts]
    for i in range(config.num_encoder_layers):
        layer = stack[f"layers_{i}"]
        owner = layer if "relpos_bias" in layer else stack
        relative = bias(owner["relpos_bias"], length, True)
        y = norm(x, layer["pre_attention_layer_norm"])
        x = x + attention(layer["attention"], y, y, prompt_mask, relative, heads)
        x = x + mlp(layer["mlp"], norm(x, layer["pre_mlp_layer_norm"]))
    encoded = norm(x, stack["encoder_norm"])

    stack, length = params["decoder"], inputs.shape[1]
    x = table[inputs]
    causal = np.tril(np.ones((1, 1, length, length), bool))
    for i in range(config.num_decoder_layers):
        layer = stack[f"layers_{i}"]
        owner = layer if "relpos_bias" in layer else stack
        relative = bias(owner["relpos_bias"], length, False)
        y = norm(x, layer["pre_self_attention_layer_norm"])
        x = x + attention(layer["self_attention"], y, y, causal, relative, heads)
        y = norm(x, layer["pre_cross_attention_layer_norm"])
        cross = layer["encoder_decoder_attention"]
        x = x + attention(cross, y, encoded, prompt_mask, 0.0, heads)
        x = x + mlp(layer["mlp"], norm(x, layer["pre_mlp_layer_norm"]))
    hidden = norm(x, stack["decoder_norm"])
    if config.logits_via_embedding:
        return hidden / np.sqrt(config.emb_dim) @ table.T
    return hidden @ stack["logits_dense"]["kernel"]
