"""How the users of transformers and T5X decode a batch of prompts, for the benchmark."""

import functools
import importlib.util
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict

from dro_jax.benchmarks import workload
from dro_jax.data.prompt_batches import Prompts
from dro_jax.interop.formats import write_model
from dro_jax.interop.stored_model import Leaf, StoredModel
from dro_jax.models.t5_config import T5Config

ROWS, LENGTH = 32, 48
_EOS = 1
Make = Callable[[T5Config, Mapping[str, Any], Prompts, float], Callable]


def _need(*packages: str) -> None:
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(f"not installed: {', '.join(missing)}")


def _transformers(config, params, given, temperature, *, by_length=False):
    """`generate` of `T5ForConditionalGeneration`, with the weights our converter writes."""
    _need("torch", "transformers")
    import torch
    import transformers

    with tempfile.TemporaryDirectory() as folder:
        write_model(_stored(config, params), f"{folder}/hf", "hf")
        model = transformers.AutoModelForSeq2SeqLM.from_pretrained(f"{folder}/hf")
    model.eval()
    sampling = {"do_sample": temperature > 0}
    if temperature:
        sampling |= {"temperature": temperature, "top_k": 0, "top_p": 1.0}

    def decode() -> list[np.ndarray]:
        def of_batch(tokens: np.ndarray) -> np.ndarray:
            tokens = torch.from_numpy(tokens.astype(np.int64))
            generated = model.generate(
                input_ids=tokens,
                attention_mask=(tokens > 0).long(),
                max_new_tokens=LENGTH,
                **sampling,
            )
            return generated[:, 1:].numpy()  # after the start token

        torch.manual_seed(0)
        with torch.inference_mode():
            return _by_batches(given, of_batch, by_length=by_length)

    return decode


def _t5x(config, params, given, temperature):
    """`EncoderDecoderModel.predict_batch` with `temperature_sample`, as `t5x.infer`."""
    _need("t5x")
    import seqio
    from t5x import decoding, models
    from t5x.examples.t5 import network

    module = network.Transformer(
        config=network.T5Config(
            vocab_size=config.vocab_size,
            emb_dim=config.emb_dim,
            num_heads=config.num_heads,
            num_encoder_layers=config.num_encoder_layers,
            num_decoder_layers=config.num_decoder_layers,
            head_dim=config.head_dim,
            mlp_dim=config.mlp_dim,
            mlp_activations=config.mlp_activations,
            dropout_rate=0.0,
            logits_via_embedding=config.logits_via_embedding,
        )
    )
    vocabulary = seqio.PassThroughVocabulary(config.vocab_size, eos_id=_EOS)
    # T5X's topk is 1 unless it is told; 0 samples from all.
    options = {"temperature": temperature, "topk": 0} if temperature else {"topk": 1}
    model = models.EncoderDecoderModel(
        module,
        vocabulary,
        vocabulary,
        None,
        decode_fn=functools.partial(decoding.temperature_sample, **options),
    )
    predict = jax.jit(model.predict_batch)

    def decode() -> list[np.ndarray]:
        def of_batch(tokens: np.ndarray) -> np.ndarray:
            batch = {
                "encoder_input_tokens": tokens,
                "decoder_input_tokens": np.zeros((len(tokens), LENGTH), np.int32),
            }
            return np.asarray(predict(params, batch, rng=jax.random.PRNGKey(0)))

        return _by_batches(given, of_batch, width=workload.LENGTHS["inputs"])

    return decode


PEERS: dict[str, Make] = {
    "transformers": _transformers,
    "transformers_sorted": functools.partial(_transformers, by_length=True),
    "t5x": _t5x,
}


def _by_batches(
    given: Prompts,
    decode: Callable[[np.ndarray], np.ndarray],
    *,
    width: int = 0,
    by_length: bool = False,
) -> list[np.ndarray]:
    """Responses in the order of prompts, each up to and with EOS.

    Args:
      decode: from padded prompts ``[B, L]`` to tokens ``[B, T]``.
      width: L; 0, the longest of each batch.
      by_length: whether batches are of prompts sorted by length.
    """
    lengths = np.array([len(tokens) for tokens in given.tokens])
    order = np.argsort(-lengths, kind="stable") if by_length else np.arange(len(given))
    found: dict[int, np.ndarray] = {}
    for start in range(0, len(order), ROWS):
        places = order[start : start + ROWS]
        batch = given.at(places).batch(width or lengths[places].max(), len(places))
        rows = decode(batch["encoder_input_tokens"])
        found |= zip(places.tolist(), map(_until_end, rows), strict=True)
    return [found[place] for place in range(len(given))]


def _until_end(row: np.ndarray) -> np.ndarray:
    ends = np.flatnonzero(row == _EOS)
    return row[: ends[0] + 1] if len(ends) else row


def _stored(config: T5Config, params: Mapping[str, Any]) -> StoredModel:
    leaves = {
        name: Leaf(array.shape, array.dtype, functools.partial(np.asarray, array))
        for name, array in flatten_dict(params, sep="/").items()
    }
    return StoredModel("t5x", "memory", config, leaves)
