"""Beam search: golden decodes and scores, order, exhaustive search, parity."""

import itertools
import pathlib
import sys

import jax
import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from responses import TINY_PROMPTS, check_layout, score

from dro_jax.errors import ConfigError
from dro_jax.models.decoding import beam_search, brevity_penalty, temperature_sample


@pytest.mark.parametrize(
    ("num_beams", "layout"),
    [(1, {}), (4, {}), (4, {"scan_layers": True, "remat_policy": "full"})],
)
def test_t5x_decodes_and_scores(golden, num_beams, layout):
    network, params = golden.build(**layout)
    decoded = beam_search(
        network,
        params,
        golden.io["encoder_input_tokens"],
        max_decode_length=16,
        num_beams=num_beams,
    )
    best_first = np.s_[:, ::-1]
    np.testing.assert_array_equal(
        decoded.tokens, golden.io[f"beam{num_beams}_decodes"][best_first]
    )
    np.testing.assert_allclose(
        decoded.scores, golden.io[f"beam{num_beams}_scores"][best_first], atol=1e-4
    )
    check_layout(decoded)
    expected = score(network, params, golden.io["encoder_input_tokens"], decoded)
    np.testing.assert_allclose(decoded.logprobs, expected, atol=1e-4)


def test_brevity_penalty():
    """((5 + 7) / 6) ** 0.6 = 2 ** 0.6."""
    assert brevity_penalty(7, 0.6) == pytest.approx(2**0.6)
    assert brevity_penalty(1, 0.6) == 1.0
    assert brevity_penalty(100, 0.0) == 1.0


def enumerate_responses(network, params, prompt, length):
    """Every response of at most ``length`` tokens that ends, with its log π."""
    middles = range(2, network.config.vocab_size)
    responses = [
        [*middle, 1, *[0] * (length - count - 1)]
        for count in range(length)
        for middle in itertools.product(middles, repeat=count)
    ]
    tokens = np.array(responses, np.int32)
    inputs = np.pad(tokens, ((0, 0), (1, 0)))[:, :-1]
    prompts = np.repeat(prompt[None], len(tokens), axis=0)
    logits = network.apply({"params": params}, prompts, inputs, tokens)
    logprobs = np.take_along_axis(
        np.asarray(jax.nn.log_softmax(logits)), tokens[..., None], axis=-1
    )[..., 0]
    return tokens, np.sum(logprobs * (tokens > 0), axis=1)


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [0.0, 1.5])
def test_wide_beams_search_exhaustively(tiny, alpha):
    """Twice 126 candidates hold all 6² · 7 of the last step: nothing is missed."""
    network, params = tiny
    decoded = beam_search(
        network,
        params,
        TINY_PROMPTS,
        max_decode_length=3,
        num_beams=126,
        alpha=alpha,
    )
    for row, prompt in enumerate(TINY_PROMPTS):
        tokens, logprobs = enumerate_responses(network, params, prompt, 3)
        lengths = (tokens > 0).sum(axis=1)
        scores = logprobs / ((5 + lengths) / 6) ** alpha
        best = np.argsort(-scores)
        ended = len(scores)
        np.testing.assert_allclose(decoded.scores[row, :ended], scores[best], atol=1e-5)
        by_tokens = {tuple(t): p for t, p in zip(tokens, logprobs, strict=True)}
        for beam in range(ended):
            response = tuple(np.asarray(decoded.tokens[row, beam]))
            expected = by_tokens.pop(response)
            assert decoded.logprobs[row, beam] == pytest.approx(expected, abs=1e-5)
            assert decoded.lengths[row, beam] == np.count_nonzero(response)


def test_one_beam_is_greedy(tiny):
    options = {"max_decode_length": 6}
    beam = beam_search(*tiny, TINY_PROMPTS, num_beams=1, alpha=0.0, **options)
    greedy = temperature_sample(
        *tiny, TINY_PROMPTS, jax.random.key(0), temperature=0.0, **options
    )
    np.testing.assert_allclose(beam.logprobs, greedy.logprobs, atol=1e-5)
    np.testing.assert_array_equal(beam.tokens, greedy.tokens)


def test_unfinished_beams_fill_the_places_left(tiny):
    """After one step only EOS has ended; the other places go to live beams."""
    decoded = beam_search(*tiny, TINY_PROMPTS, max_decode_length=1, num_beams=3)
    check_layout(decoded)
    np.testing.assert_array_equal(decoded.tokens[:, 0, 0], 1)
    assert (decoded.tokens[:, 1:, 0] > 1).all()
    assert (decoded.logprobs[:, 1] >= decoded.logprobs[:, 2]).all()
    np.testing.assert_array_equal(decoded.scores, decoded.logprobs)


def test_more_beams_than_responses(tiny):
    """One token: EOS and six others exist, the eighth place stays empty."""
    decoded = beam_search(*tiny, TINY_PROMPTS, max_decode_length=1, num_beams=8)
    np.testing.assert_array_equal(
        np.sort(decoded.tokens[:, :, 0])[:, 1:], [range(1, 8)] * 3
    )
    assert not decoded.tokens[:, -1].any()
    assert (decoded.scores[:, -1] == -np.inf).all()
    assert np.isfinite(decoded.scores[:, :-1]).all()


def test_rows_without_a_prompt_stay_empty(tiny):
    options = {"max_decode_length": 4, "num_beams": 2}
    padded = np.pad(TINY_PROMPTS, ((0, 1), (0, 0)))
    decoded = beam_search(*tiny, padded, **options)
    expected = beam_search(*tiny, TINY_PROMPTS, **options)
    np.testing.assert_array_equal(decoded.tokens[:3], expected.tokens)
    assert not decoded.tokens[3].any()
    assert not decoded.lengths[3].any()
    assert np.isfinite(decoded.scores).all()


@pytest.mark.parametrize("option", ["max_decode_length", "num_beams", "alpha"])
def test_bad_options(tiny, option):
    options = {"max_decode_length": 4} | {option: -1}
    with pytest.raises(ConfigError, match=option):
        beam_search(*tiny, TINY_PROMPTS, **options)
