import numpy as np
import pytest

from dro_jax.benchmarks import decode_peers
from dro_jax.data.prompt_batches import Prompts

TOKENS = [[5, 1], [6, 7, 8, 1], [9, 9, 1], [4, 1], [3, 3, 3, 3, 1]]
PROMPTS = Prompts(TOKENS, np.zeros((5, 2), np.int32))


@pytest.mark.parametrize(
    ("way", "shapes"),
    [
        ({}, [(2, 4), (2, 3), (1, 5)]),
        ({"by_length": True}, [(2, 5), (2, 3), (1, 2)]),
        ({"width": 8}, [(2, 8), (2, 8), (1, 8)]),
    ],
)
def test_responses_come_in_order_and_end_with_eos(monkeypatch, way, shapes):
    monkeypatch.setattr(decode_peers, "ROWS", 2)
    seen = []

    def echo(tokens):
        """Each prompt again; what follows EOS does not count."""
        seen.append(tokens.shape)
        return np.pad(tokens, ((0, 0), (0, 2)), constant_values=7)

    found = decode_peers._by_batches(PROMPTS, echo, **way)
    assert [row.tolist() for row in found] == TOKENS
    assert seen == shapes


def test_a_response_without_end_counts_whole():
    assert decode_peers._until_end(np.array([4, 5, 6])).tolist() == [4, 5, 6]
