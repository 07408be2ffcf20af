"""A small network and batches shared by the model and training tests."""

import jax
import jax.numpy as jnp
import numpy as np

from dro_jax import batch_fields
from dro_jax.models.t5 import T5Config

NETWORK = T5Config(
    vocab_size=40,
    emb_dim=16,
    num_heads=2,
    num_encoder_layers=1,
    num_decoder_layers=1,
    head_dim=8,
    mlp_dim=24,
    mlp_activations=("gelu", "linear"),
    dropout_rate=0.0,
)
# For counts and shapes alone: nobody makes its parameters here.
T5_LARGE = T5Config(  # gin_configs/models/t5_1_1_large.gin
    vocab_size=32128,
    emb_dim=1024,
    num_heads=16,
    num_encoder_layers=24,
    num_decoder_layers=24,
    head_dim=64,
    mlp_dim=2816,
    mlp_activations=("gelu", "linear"),
)


def example(rng, prompt_length, response_length):
    return {
        "prompt": rng.integers(2, 40, prompt_length).astype(np.int32),
        "response": rng.integers(2, 40, response_length).astype(np.int32),
        "reward": np.float32(rng.normal()),
    }


def examples(seed=0, lengths=((5, 4), (3, 6), (6, 2), (4, 4))):
    rng = np.random.default_rng(seed)
    return [example(rng, *pair) for pair in lengths]


def pack(rows, *, input_length=12, target_length=12, packed=True):
    """A batch of the design's contract; `rows` lists the examples of each row."""
    groups = [[[item] for item in row] for row in rows]
    batch = pack_groups(
        groups, 1, input_length=input_length, target_length=target_length
    )
    del batch["group_weights"]
    if not packed:
        del batch["encoder_segment_ids"], batch["decoder_segment_ids"]
    return batch


def pack_groups(rows, size, *, input_length=12, target_length=24):
    """A grouped batch; `rows` lists the groups of each row, a group responses to the
    prompt of its first, best first."""
    groups = max(len(row) for row in rows)
    sizes = {"B": len(rows), "L": input_length, "T": target_length}
    sizes |= {"G": groups, "S": groups * size}
    batch = {
        name: batch_fields.zeros(name, sizes)
        for name, listed in batch_fields.FIELDS.items()
        if name == "group_weights" or {"encoder", "decoder", "loss"} & {*listed.readers}
        if listed.source != "records"
    }
    for r, row in enumerate(rows):
        i = t = 0
        for g, group in enumerate(row):
            prompt = group[0]["prompt"]
            batch["group_weights"][r, g] = 1
            batch["encoder_input_tokens"][r, i : i + len(prompt)] = prompt
            batch["encoder_segment_ids"][r, i : i + len(prompt)] = g + 1
            i += len(prompt)
            for k, item in enumerate(group):
                s, response = g * size + k, item["response"]
                end = t + len(response)
                batch["decoder_target_tokens"][r, t:end] = response
                batch["decoder_input_tokens"][r, t + 1 : end] = response[:-1]
                batch["decoder_segment_ids"][r, t:end] = s + 1
                batch["rewards"][r, s] = item["reward"]
                batch["trajectory_weights"][r, s] = 1
                t = end
    batch["decoder_loss_weights"] = (batch["decoder_target_tokens"] > 0).astype(np.int32)
    return {name: jnp.asarray(values) for name, values in batch.items()}


def groups(seed=0, sizes=(3, 2, 3, 1)):
    """Groups of responses to one prompt each, best first."""
    rng = np.random.default_rng(seed)
    made = []
    for number in sizes:
        prompt = example(rng, 4, 1)["prompt"]
        group = [example(rng, 1, 2 + k) | {"prompt": prompt} for k in range(number)]
        made.append(sorted(group, key=lambda item: -item["reward"]))
    return made


def unpacked(items):
    return pack([[item] for item in items], packed=False)


def init(model, batch, seed=0):
    """Random parameters; compiled whole, which is much faster than op by op."""
    return jax.jit(lambda key: model.init(key, batch)[0])(jax.random.key(seed))


def leaves(tree):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


def read_params(folder):
    """The parameters of a run, on the device."""
    from dro_jax.training.checkpoints import load_params

    return jax.tree.map(jnp.asarray, load_params(folder))
