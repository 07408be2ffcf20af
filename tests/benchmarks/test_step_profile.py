import pytest

from dro_jax.benchmarks.step_profile import shares
from dro_jax.errors import UserError


def test_shares_are_of_all_that_was_measured():
    found = shares({"attention": 1.0, "logits": 3.0, "embedding": 0.0})
    assert {name: figure.median for name, figure in found.items()} == {
        "step.time_share_attention": 0.25,
        "step.time_share_logits": 0.75,
    }


def test_a_profile_without_the_steps_operations_has_none():
    with pytest.raises(UserError, match="no operation of it"):
        shares({})
