"""Tokens a second of decoding: ours beside transformers' and T5X's, weights the same."""

import functools
from collections.abc import Callable

import jax
import numpy as np

from dro_jax.benchmarks import decode_peers, workload
from dro_jax.benchmarks.timing import Figure, Figures, in_turn, ratio
from dro_jax.data.prompt_batches import Prompts
from dro_jax.data.prompt_batches import in_turn as as_they_come
from dro_jax.evaluation.sampled_prompts import sample_prompts, sampled_batches
from dro_jax.messages import note
from dro_jax.models.decoding import DecodingConfig
from dro_jax.models.model import FeedbackModel
from dro_jax.models.networks import Params
from dro_jax.objectives import NLL
from dro_jax.training.initialization import smallest_batch
from dro_jax.training.sharding import MeshConfig

PROMPTS = 128
# Responses of spread lengths: how many prompts, and by what the kernel of EOS is scaled.
_ENDING, _ENDING_PROMPTS, _EOS_SCALE = "ending", 512, 3.0
# Temperature 1 from all tokens; T5X and transformers are told the same.
_WAYS = {"greedy": 0.0, "sampled": 1.0}
# What a way gives: for each prompt, the tokens of its response, EOS included.
Decode = Callable[[], list[np.ndarray]]


def prompts(count: int = PROMPTS) -> Prompts:
    """Made ones, whose lengths are spread as those of HHA's."""
    rng = np.random.default_rng(0)
    # Log-normal, with the mean and spread of the logarithms of HHA's.
    lengths = np.exp(rng.normal(np.log(80), 1.1, count)).astype(int) + 2
    tokens = [
        np.append(rng.integers(2, workload.MINI.vocab_size, n - 1), 1).astype(np.int32)
        for n in np.minimum(lengths, workload.LENGTHS["inputs"])
    ]
    return Prompts(tokens, np.arange(2 * count, dtype=np.int32).reshape(count, 2))


def measure(rounds: int) -> Figures:
    """Rates of each, and ours divided by theirs, greedy and sampled.

    128 prompts, 32 at a time, 48 tokens each: parameters are random, so that next to no
    response ends early, and all give as many tokens. Each does as its users do: ours
    puts prompts of like lengths together (`padded`: as they come, all of 512 tokens),
    transformers pads each batch to its longest (`sorted`: of prompts sorted by length
    first), T5X pads all to the task's 512 tokens.
    What each gives is counted alike, EOS included and padding not; compilation and first
    calls are not timed.

    `decode.ending_…` is of responses that end at all lengths: the kernel of EOS is
    scaled, for all alike, and 512 prompts are answered greedily, beside transformers'
    of sorted prompts and beside ours without rows that take turns.
    """
    model = FeedbackModel(network=workload.MINI, objective=NLL())
    params = jax.jit(lambda key: model.init(key, smallest_batch())[0])(
        jax.random.key(0)
    )
    given = prompts()
    figures: Figures = {}
    for way, temperature in _WAYS.items():
        decode, padded = (
            ours(model, params, given, temperature, padded=padded)
            for padded in (False, True)
        )
        figures |= _beside(way, "padded", decode, padded, rounds)
        for peer, make in decode_peers.PEERS.items():
            try:
                theirs = make(workload.MINI, params, given, temperature)
            except ImportError as error:
                note(f"decode: {peer} is left out: {error}")
                continue
            figures |= _beside(way, peer, decode, theirs, rounds)
    return figures | _ending(model, params, rounds)


def _ending(model: FeedbackModel, params: Params, rounds: int) -> Figures:
    """Of responses whose lengths are spread, as those of a trained policy."""
    table = params["decoder"]["logits_dense"]["kernel"]
    table = table.at[:, 1].multiply(_EOS_SCALE)
    decoder = params["decoder"] | {"logits_dense": {"kernel": table}}
    params = params | {"decoder": decoder}
    given = prompts(_ENDING_PROMPTS)
    decode = ours(model, params, given, 0.0)
    others = {"waiting": ours(model, params, given, 0.0, batches_in_turn=1)}
    peer = "transformers_sorted"
    try:
        others[peer] = decode_peers.PEERS[peer](workload.MINI, params, given, 0.0)
    except ImportError as error:
        note(f"decode: {peer} is left out: {error}")
    figures: Figures = {}
    for name, theirs in others.items():
        figures |= _beside(_ENDING, name, decode, theirs, rounds)
    lengths = [len(tokens) for tokens in decode()]
    return figures | {
        "decode.ending_mean_length": Figure.exact(float(np.mean(lengths)))
    }


def ours(
    model: FeedbackModel,
    params: Params,
    given: Prompts,
    temperature: float,
    *,
    padded: bool = False,
    batches_in_turn: int = 8,
) -> Decode:
    """`sample_prompts`, from tokens to tokens.

    Args:
      padded: prompts are taken as they come, and padded to the longest that may be.
      batches_in_turn: of the configuration.
    """
    rows, length = decode_peers.ROWS, decode_peers.LENGTH
    longest = workload.LENGTHS["inputs"]
    config = DecodingConfig(
        max_decode_length=length,
        temperature=temperature,
        batches_in_turn=batches_in_turn,
    )
    mesh = MeshConfig(data=1).build()

    def decode() -> list[np.ndarray]:
        if not padded:
            samples = sample_prompts(
                model, params, given, config, mesh, longest=longest, batch_size=rows
            )
            return [sample.tokens for (sample,) in samples]
        plan = as_they_come(len(given), rows, longest)
        batches = sampled_batches(
            model, params, given, plan, config, mesh, batch_size=rows
        )
        return [
            row[0, : count[0]]
            for batch, decoded in batches
            for row, count in zip(
                decoded.tokens[: len(batch.places)],
                decoded.lengths[: len(batch.places)],
                strict=True,
            )
        ]

    return decode


def _beside(way: str, peer: str, mine: Decode, theirs: Decode, rounds: int) -> Figures:
    found: dict[str, list[np.ndarray]] = {}

    def keep(name: str, decode: Decode) -> None:
        found[name] = decode()

    times = in_turn(
        functools.partial(keep, "mine", mine),
        functools.partial(keep, "theirs", theirs),
        rounds=rounds,
    )
    counts = {name: sum(map(len, tokens)) for name, tokens in found.items()}
    rates = [
        [counts[name] / seconds for seconds in of_one]
        for name, of_one in zip(("mine", "theirs"), times, strict=True)
    ]
    same = [
        np.array_equal(one, other)
        for one, other in zip(found["mine"], found["theirs"], strict=True)
    ]
    figures = {
        f"decode.{way}_speedup_{peer}": ratio(*rates),
        f"decode.{way}_tokens_per_second_beside_{peer}": Figure.of(rates[0]),
        f"decode.{way}_tokens_per_second_{peer}": Figure.of(rates[1]),
    }
    if not _WAYS.get(way):
        figures[f"decode.{way}_same_{peer}"] = Figure.exact(float(np.mean(same)))
    return figures
