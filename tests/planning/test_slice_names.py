"""Names of slices: the right ones taken, others refused with what is right."""

import pytest

from dro_jax.errors import ConfigError
from dro_jax.planning.slice_names import FORMS, check_topology


@pytest.mark.parametrize("forms", FORMS.values())
def test_each_form_that_a_message_names_is_taken(forms):
    for name in forms.replace(", …", "").split(", "):
        check_topology(name)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("v5e", "v5e:4x4"),
        ("v5litepod-16", "v5e:4x4"),
        ("v9:4x4", "v6e:4x4"),
        ("v5e:4x4x4", "2 axes"),
        ("v4:2x2", "v4:2x2x1"),
        ("v5e:3x4", "must be even"),
        ("v5e:0x4", "v5e:4x4"),
        ("", "v5e:4x4"),
    ],
)
def test_others_are_refused_and_the_message_names_right_ones(name, reason):
    with pytest.raises(ConfigError, match=reason):
        check_topology(name)
