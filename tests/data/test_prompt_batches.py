import numpy as np
import pytest

from dro_jax.data.prompt_batches import (
    Prompts,
    as_one,
    bucket_edges,
    plan_batches,
    rows_for,
    taking_turns,
)


@pytest.mark.parametrize(
    ("longest", "edges"),
    [(12, (12,)), (32, (32,)), (48, (32, 48)), (200, (32, 48, 64, 96, 128, 192, 200))],
)
def test_edges_are_few_and_end_with_the_longest(longest, edges):
    assert bucket_edges(longest) == edges


def test_a_batch_is_as_wide_as_the_bucket_of_its_longest_prompt():
    lengths = [3, 40, 33, 9, 64, 1, 2]
    plan = plan_batches(lengths, 2, (32, 64))
    assert [batch.places.tolist() for batch in plan] == [[4, 1], [2, 3], [0, 6], [5]]
    assert [batch.width for batch in plan] == [64, 64, 32, 32]


def test_prompts_change_places_within_a_window_only():
    lengths = np.random.default_rng(0).integers(1, 65, 50)
    plan = plan_batches(lengths, 4, (32, 64), window_batches=3)
    assert sorted(np.concatenate([batch.places for batch in plan])) == list(range(50))
    for batch in plan:
        assert (batch.places // 12 == batch.window).all()
        assert batch.width >= lengths[batch.places].max()
    assert [len(batch.places) for batch in plan] == [4] * 12 + [2]


def joined(plan, most):
    return [as_one(group) for group in taking_turns(plan, most)]


def test_batches_of_like_widths_are_joined_within_their_window():
    lengths = [40, 3, 9, 33, 64, 1, 2, 50, 4, 5, 6, 7, 8]
    plan = plan_batches(lengths, 2, (12, 32, 64), window_batches=5)
    widths = [(batch.window, batch.width) for batch in plan]
    assert widths == [(0, 64), (0, 64), (0, 12), (0, 12), (0, 12), (1, 12), (1, 12)]
    found = joined(plan, 2)
    sizes = [(batch.window, batch.width, len(batch.places)) for batch in found]
    assert sizes == [(0, 64, 4), (0, 12, 4), (0, 12, 2), (1, 12, 3)]
    np.testing.assert_array_equal(
        np.concatenate([batch.places for batch in found]),
        np.concatenate([batch.places for batch in plan]),
    )
    assert [rows_for(len(batch.places), 2, 2) for batch in found] == [4, 4, 2, 4]
    like = plan_batches([64, 33, 9], 1, (12, 32, 48, 64))
    assert [(b.width, len(b.places)) for b in joined(like, 8)] == [(64, 2), (12, 1)]
    assert [len(batch.places) for batch in joined(plan, 1)] == [2] * 6 + [1]


def test_no_prompts_make_no_batches():
    assert plan_batches([], 4, (32,)) == []


def test_a_batch_is_filled_up_and_shared_out():
    ids = np.arange(6, dtype=np.int32).reshape(3, 2)
    prompts = Prompts([[5, 1], [6, 7, 1], [1]], ids)
    whole = prompts.at(np.array([1, 0, 2])).batch(4, 4)
    np.testing.assert_array_equal(
        whole["encoder_input_tokens"],
        [[6, 7, 1, 0], [5, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]],
    )
    np.testing.assert_array_equal(
        whole["record_ids"][:, 0], [[2, 3], [0, 1], [4, 5], [0, 0]]
    )
    np.testing.assert_array_equal(whole["trajectory_weights"][:, 0], [1, 1, 1, 0])
    parts = [prompts.at(np.array([1, 0, 2])).batch(4, 4, (k, 2)) for k in range(2)]
    for name, rows in whole.items():
        np.testing.assert_array_equal(
            np.concatenate([part[name] for part in parts]), rows
        )
