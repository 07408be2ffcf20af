"""Kubernetes' manifests as people read them."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml


def as_yaml(manifests: Sequence[Mapping[str, Any]]) -> str:
    """One document each, keys in their order."""
    return yaml.dump_all(
        manifests,
        Dumper=_Dumper,
        sort_keys=False,
        explicit_start=True,
        width=4096,  # a command's words stay on their lines
    )


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as they are; nothing by reference."""

    def ignore_aliases(self, data):
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
