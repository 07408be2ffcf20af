import pytest

from dro_jax.plurals import counted


@pytest.mark.parametrize(
    ("count", "thing", "said"),
    [
        (0, "prompt", "0 prompts"),
        (1, "prompt", "1 prompt"),
        (12345, "record", "12,345 records"),
        (1, "forward pass", "1 forward pass"),
        (2, "forward pass", "2 forward passes"),
    ],
)
def test_numbers_of_things(count, thing, said):
    assert counted(count, thing) == said
