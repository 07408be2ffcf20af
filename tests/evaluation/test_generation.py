import functools

import jax
import numpy as np
import pytest
import small
from array_data import ArrayDataset

from dro_jax.errors import ConfigError
from dro_jax.evaluation.generation import as_trajectories, generate, response_text
from dro_jax.models.decoding import DecodingConfig, decode
from dro_jax.models.model import FeedbackModel
from dro_jax.objectives import NLL
from dro_jax.training.initialization import smallest_batch
from dro_jax.training.mesh_steps import device_fields
from dro_jax.training.sharding import MeshConfig, ParamLayout

ONE = MeshConfig(data=1).build()


class Letters:
    """A vocabulary of letters: ids 2, 3, … are a, b, …; 1 ends a text."""

    eos_id = 1

    def decode(self, ids):
        return "".join(chr(ord("a") + i - 2) for i in ids)


@pytest.fixture(scope="module")
def decoded():
    batches = list(ArrayDataset(num_records=16, num_epochs=1).batches())
    batches[-1]["trajectory_weights"][6:] = 0
    model = FeedbackModel(network=small.NETWORK, objective=NLL())
    params = small.init(model, device_fields(batches[0]))
    config = DecodingConfig(max_decode_length=5, num_samples=2, seed=4)
    return model, params, list(generate(model, params, batches, config, ONE))


def test_sampled_logprobs_are_what_the_model_scores(decoded):
    model, params, results = decoded
    score = jax.jit(model.logprobs)
    for batch, sampled in results:
        scored = score(params, as_trajectories(batch, sampled))[:, 0]
        np.testing.assert_allclose(scored, sampled.logprobs.reshape(-1), atol=1e-4)


def test_padding_rows_stay_padding(decoded):
    _, _, results = decoded
    weights = as_trajectories(*results[-1])["trajectory_weights"]
    np.testing.assert_array_equal(weights[:, 0], [1] * 12 + [0] * 4)


def test_batches_draw_different_samples(decoded):
    _, _, results = decoded
    assert not np.array_equal(results[0][1].tokens, results[1][1].tokens)


PROMPTS = np.random.default_rng(0).integers(2, 40, (12, 4)).astype(np.int32)
IDS = np.random.default_rng(1).integers(-(2**31), 2**31, (12, 2)).astype(np.int32)


def samples_by_record(model, params, order, batch_size, **settings):
    """Tokens and log-probs of each record, the records in some order."""
    batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    full = [np.pad(part, (0, batch_size - len(part))) for part in batches]
    filled = [np.arange(batch_size) < len(part) for part in batches]
    given = [
        {
            "encoder_input_tokens": PROMPTS[rows] * present[:, None],
            "record_ids": IDS[rows][:, None] * present[:, None, None],
        }
        for rows, present in zip(full, filled, strict=True)
    ]
    config = DecodingConfig(**{"max_decode_length": 6, "num_samples": 3} | settings)
    found = {}
    results = generate(model, params, given, config, ONE)
    for part, (_, out) in zip(batches, results, strict=True):
        for row, record in enumerate(part):
            found[int(record)] = (out.tokens[row], out.logprobs[row])
    return found


def assert_same_samples(found, expected):
    for record, (tokens, logprobs) in found.items():
        np.testing.assert_array_equal(tokens, expected[record][0])
        np.testing.assert_allclose(logprobs, expected[record][1], atol=1e-4)


@pytest.mark.parametrize("settings", [{}, {"top_k": 20, "top_p": 0.9}, {"beams": 3}])
def test_a_sample_depends_on_its_record_alone(decoded, settings):
    """Not on the batch's size and tail, the file's order or the neighbours."""
    model, params, _ = decoded
    rows = np.arange(12)
    whole = samples_by_record(model, params, rows, 8, **settings)
    if "beams" not in settings:
        assert len({tokens.tobytes() for tokens, _ in whole.values()}) == 12
        other = samples_by_record(model, params, rows, 8, seed=1, **settings)
        assert any((other[i][0] != whole[i][0]).any() for i in whole)
    sizes = (1, 3) if not settings else ()
    for size in sizes:
        found = samples_by_record(model, params, rows, size, **settings)
        assert_same_samples(found, whole)
    for order in (rows[::-1], np.delete(rows, 2)):
        found = samples_by_record(model, params, order, 8, **settings)
        assert_same_samples(found, whole)


@pytest.mark.parametrize("settings", [{}, {"beams": 3}])
def test_samples_do_not_depend_on_the_devices(decoded, settings):
    """Rows shared out over four, layers over two, parameters over all."""
    model, params, _ = decoded
    given = [
        {
            "encoder_input_tokens": PROMPTS[:8],
            "record_ids": IDS[:8, None],
            "trajectory_weights": np.ones((8, 1), np.float32),
        }
    ]
    config = DecodingConfig(max_decode_length=6, num_samples=3, **settings)
    ((_, one),) = generate(model, params, given, config, ONE)
    mesh = MeshConfig(model=2, fsdp=True).build()
    with mesh.context():
        shardings = ParamLayout.of(model, smallest_batch(), mesh).shardings
    spread = jax.device_put(params, shardings)
    assert any(not leaf.is_fully_replicated for leaf in jax.tree.leaves(spread))
    ((_, eight),) = generate(model, spread, given, config, mesh)
    np.testing.assert_array_equal(one.tokens, eight.tokens)
    np.testing.assert_allclose(one.logprobs, eight.logprobs, atol=1e-4)


@pytest.mark.parametrize("settings", [{"top_k": 5}, {"beams": 2}])
def test_devices_decode_their_own_rows(decoded, settings):
    """A step tells others whether it is done, and gathers no logits of theirs."""
    model, params, _ = decoded
    mesh = MeshConfig().build()
    config = DecodingConfig(max_decode_length=4, num_samples=2, **settings)
    keys = jax.vmap(jax.random.key)(np.arange(8))
    with mesh.context():
        rows = jax.device_put((PROMPTS[:8], keys), mesh.by_row)
        params = jax.device_put(params, mesh.replicated)
        compute = jax.jit(functools.partial(decode, model.network, config=config))
        program = compute.lower(params, *rows).compile().as_text()
    assert "all-reduce" in program
    assert "all-gather" not in program and "all-to-all" not in program


def test_text_ends_at_eos_or_padding():
    assert response_text(Letters(), np.array([2, 3, 1, 5, 5])) == "ab"
    assert response_text(Letters(), np.array([4, 0, 0])) == "c"
    assert response_text(Letters(), np.array([1, 0])) == ""


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"beams": 2, "top_k": 3}, "beam search does not sample"),
        ({"beams": 2, "num_samples": 3}, "cannot come from 2 beams"),
    ],
)
def test_settings_without_effect_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        DecodingConfig(max_decode_length=4, **settings)

