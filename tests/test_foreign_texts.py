"""What a spreadsheet and a browser make of texts that nobody vouches for."""

import pytest

from dro_jax.foreign_texts import harmless_cell, source_hash


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_no_cell_begins_a_formula(first):
    assert harmless_cell(f"{first}1+1") == f"'{first}1+1"


def test_other_texts_stay():
    assert harmless_cell("1 = 1") == "1 = 1"
    assert harmless_cell("") == ""
    # No file of text holds these.
    assert harmless_cell("a\0b\ud800") == "ab?"


def test_a_script_is_named_as_browsers_do():
    # printf "alert('Hello, world.');" | openssl dgst -sha256 -binary | base64
    expected = "sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng="
    assert source_hash("alert('Hello, world.');") == expected
