"""Floating-point operations of a compiled program's matrix products."""

import re

import numpy as np

from dro_jax.planning.hlo_text import Array, Computation, Instruction, arrays

_LIBRARY = re.compile(r"gemm|matmul", re.IGNORECASE)
_ESTIMATE = r'"cost_estimate":\{[^{}]*"flops":"?(\d+)'


def product_flops(computation: Computation, instruction: Instruction) -> int:
    """Two for each multiply-add of a product; 0 for all else.

    Args:
      computation: the instruction's own.
      instruction: a `dot`, a `convolution`, to which TPU's compiler makes products, or a
        call of a library's product (cuBLAS, oneDNN), or of a kernel, into which the
        compiler does not see, and which says itself how many it takes.
    """
    if instruction.opcode == "dot":
        return _dot(computation, instruction, r"lhs_contracting_dims=\{([\d,]*)\}")
    if instruction.opcode == "convolution":
        return _convolution(computation, instruction)
    if instruction.opcode == "custom-call":
        target = instruction.attribute(r'custom_call_target="([^"]*)"') or ""
        if _LIBRARY.search(target):
            pattern = r'"lhs_contracting_dimensions":\[([\d",]*)\]'
            return _dot(computation, instruction, pattern)
        return int(instruction.attribute(_ESTIMATE) or 0)
    return 0


def _dot(computation: Computation, instruction: Instruction, pattern: str) -> int:
    left = _array(computation, instruction, 0)
    named = instruction.attribute(pattern)
    # What names no axis multiplies the last one.
    axes = [len(left.sizes) - 1]
    if named is not None:
        axes = [int(axis) for axis in re.findall(r"\d+", named)]
    contracted = 1
    for axis in axes:
        contracted *= left.sizes[axis]
    return 2 * arrays(instruction.type)[0].elements * contracted


def _convolution(computation: Computation, instruction: Instruction) -> int:
    """As XLA's own cost analysis: places beyond the edges and between are not counted."""
    left = _array(computation, instruction, 0)
    right = _array(computation, instruction, 1)
    output = arrays(instruction.type)[0]
    labels = instruction.attribute(r"dim_labels=([\w?]+_[\w?]+->[\w?]+)")
    of_left, of_right, of_output = re.split(r"_|->", labels)
    groups = int(instruction.attribute(r"batch_group_count=(\d+)") or 1)
    count = (
        left.sizes[of_left.index("b")]
        // groups
        * output.sizes[of_output.index("f")]
        * right.sizes[of_right.index("i")]
    )
    window = _window(instruction)
    spatial = sorted(label for label in of_left if label.isdigit())
    for place, label in enumerate(spatial):
        count *= _valid(
            left.sizes[of_left.index(label)],
            right.sizes[of_right.index(label)],
            output.sizes[of_output.index(label)],
            **{name: values[place] for name, values in window.items()},
        )
    return 2 * count


def _window(instruction: Instruction) -> dict[str, list[int]]:
    """Strides, low paddings and dilations, a number for each spatial axis."""
    text = instruction.attribute(r"window=\{([^{}]*)\}") or ""
    fields = dict(part.split("=", 1) for part in text.split())
    count = len(fields["size"].split("x")) if "size" in fields else 0
    found = {}
    for name, field, default in (
        ("stride", "stride", 1),
        ("left_dilation", "lhs_dilate", 1),
        ("right_dilation", "rhs_dilate", 1),
        ("low", "pad", 0),
    ):
        values = fields.get(field, "x".join([str(default)] * count)).split("x")
        found[name] = [int(value.split("_")[0]) for value in values if value]
    return found


def _valid(
    size: int,
    kernel: int,
    output: int,
    *,
    stride: int,
    left_dilation: int,
    right_dilation: int,
    low: int,
) -> int:
    """Pairs of an output and a kernel place that meet a number of the input."""
    places = (
        np.arange(output)[:, None] * stride
        - low
        + np.arange(kernel)[None] * right_dilation
    )
    inside = (places >= 0) & (places <= (size - 1) * left_dilation)
    return int(np.sum(inside & (places % left_dilation == 0)))


def _array(computation: Computation, instruction: Instruction, number: int) -> Array:
    return arrays(computation.operand(instruction, number).type)[0]
