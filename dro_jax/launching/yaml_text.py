"""Kubernetes' manifests as people read them."""

import re
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


# Kubernetes reads these as numbers or as truth, and PyYAML, which writes an older YAML,
# leaves them bare.
_READ_OTHERWISE = re.compile(
    r"[-+]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)([eE][-+]?\d+)?|[-+]?0[oOxXbB][\da-fA-F_]+|[yYnN]"
)


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as they are; nothing by reference."""

    def ignore_aliases(self, data):
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    if _READ_OTHERWISE.fullmatch(text):
        style = "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
