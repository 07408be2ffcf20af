"""Texts stay texts for Kubernetes, whose YAML is Go's: newer than PyYAML's."""

import pytest

from dro_jax.launching.yaml_text import as_yaml


# kubernetes/kubernetes#82296, Shopify/krane#740: numbers there, and refused as texts.
@pytest.mark.parametrize(
    "text", ["1e3", "1e-3", "-2E+5", "08", ".5e1", "0o17", "y", "N"]
)
def test_what_go_reads_otherwise_is_quoted(text):
    assert as_yaml([{"value": text}]) == f"---\nvalue: '{text}'\n"


@pytest.mark.parametrize("text", ["4x4", "--lr=1e3", "v1e3", "1.2.3", "e1", "1Ti"])
def test_other_texts_are_bare(text):
    assert as_yaml([{"value": text}]) == f"---\nvalue: {text}\n"
