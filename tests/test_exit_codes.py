"""One status for many processes."""

import pytest

from dro_jax import exit_codes


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([0, 0], 0),
        ([134, 2], 2),
        ([1, 2], 2),
        ([143, 143], 143),
        ([134, 137], 134),
        ([0, 143], 143),
        ([142, 137], 142),
        ([0, 77], 77),
        ([127, 143], 127),
        ([134, 139], 139),
        ([77, 1], 1),
    ],
)
def test_a_refusal_outranks_what_it_makes_of_its_peers(statuses, expected):
    assert exit_codes.of_all(statuses) == expected
    assert exit_codes.of_all(statuses[::-1]) == expected


def test_signals_are_as_a_shell_says():
    assert exit_codes.shell_status(-15) == exit_codes.PREEMPTED.number
    assert exit_codes.shell_status(2) == exit_codes.REFUSED.number


def test_refusals_are_never_retried():
    retried = {number for number, code in exit_codes.EXIT_CODES.items() if code.retried}
    assert retried == {134, 137, 142, 143}
