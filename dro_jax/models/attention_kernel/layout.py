"""How the kernel cuts attention into pieces that a TPU's vector unit is made for."""

import dataclasses
import math

# A register of a TPU has 128 lanes.
LANES = 128


@dataclasses.dataclass(frozen=True)
class Layout:
    """Sizes of one call, all static.

    Heads stay side by side in the last axis, as the projections write them: a program
    of the kernel takes as many as fill its lanes, two of T5's of 64.

    Attributes:
      batch: rows B.
      num_heads: H.
      head_dim: D.
      query_length, key_length: Q and K, padded to whole blocks.
      query_block, key_block: what one pass of the inner loop takes.
      causal: whether a query attends to no later key.
      has_diagonals: whether there is a bias.
      interpret: whether the kernel is run without a TPU.
    """

    batch: int
    num_heads: int
    head_dim: int
    query_length: int
    key_length: int
    query_block: int
    key_block: int
    causal: bool
    has_diagonals: bool
    interpret: bool

    @property
    def heads(self) -> int:
        """Heads that a program takes."""
        filling = LANES // math.gcd(LANES, self.head_dim)
        return self.num_heads if self.num_heads % filling else filling

    @property
    def programs(self) -> int:
        """Programs that share a row."""
        return self.num_heads // self.heads

    @property
    def width(self) -> int:
        """Numbers of a position that a program takes."""
        return self.heads * self.head_dim

    @property
    def query_blocks(self) -> int:
        """Blocks of a row's queries."""
        return self.query_length // self.query_block

    @property
    def key_blocks(self) -> int:
        """Blocks of a row's keys."""
        return self.key_length // self.key_block

    @property
    def tile(self) -> int:
        """Side of the squares that a block's bias is put together from."""
        return math.gcd(self.query_block, self.key_block, LANES)

    @property
    def tiles(self) -> int:
        """Different ones: one a diagonal of squares."""
        return (self.query_length + self.key_length) // self.tile - 1

    @property
    def pairs(self) -> int:
        """Logits of the whole, none left out."""
        return self.batch * self.num_heads * self.query_length * self.key_length


def padded_length(length: int, block: int) -> int:
    """The length with which blocks come out even; they may be smaller than asked."""
    unit = min(block, LANES)
    return -(-length // unit) * unit


def dividing_block(length: int, block: int) -> int:
    """The largest block, not above the one asked for, of which a length is made.

    Args:
      length: a `padded_length`.
      block: that asked for.
    """
    unit = min(block, LANES)
    return max(size for size in range(unit, block + 1, unit) if length % size == 0)
