"""What a run began with is what it goes on with."""

import pytest

from dro_jax.errors import CheckpointError
from dro_jax.training.run_progress import check_identity

NOW = {"records": "48 abc", "order": "made 2"}


def test_the_same_goes_on():
    check_identity(dict(NOW), dict(NOW))
    check_identity({"records": "48 abc"}, {"records": "48 abc"})


@pytest.mark.parametrize(
    "before", [{}, {"records": "48 abc"}, {"records": "48 abc", "order": "made 1"}]
)
def test_a_run_of_another_order_is_refused_and_told_what_to_do(before):
    with pytest.raises(
        CheckpointError, match=r"another order .*\(made 2\).*INITIAL_CHECKPOINT_PATH"
    ):
        check_identity(before, NOW)
    with pytest.raises(CheckpointError, match=r"read in now \(that of the source\)"):
        check_identity(NOW, {"records": "48 abc"})


def test_other_data_are_refused():
    with pytest.raises(CheckpointError, match="records: 48 abc → 49 abd"):
        check_identity(NOW, {**NOW, "records": "49 abd"})
