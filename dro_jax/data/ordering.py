"""The order of records, a pure function of the seed: any place in it is found at once."""

import dataclasses
import hashlib
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

# Far beyond any run, and far from int64's end.
_FOREVER = 1 << 40
_CHOICES_AT_ONCE = 1 << 12


@dataclasses.dataclass(frozen=True)
class Component:
    """One task's share of a data set.

    Attributes:
      name: the task's name, which its order depends on.
      size: its number of records.
      rate: its mixing rate, used when records repeat for ever.
    """

    name: str
    size: int
    rate: float = 1.0


def record_order(
    components: Sequence[Component],
    *,
    shuffle: bool,
    seed: int,
    num_epochs: int | None,
    start: int = 0,
) -> tf.data.Dataset:
    """Which record comes when: positions in the components laid end to end, int64.

    Every epoch is a whole permutation, a new one each time. A finite number of epochs
    goes through the records of all components alike; mixing rates count only for
    `num_epochs = None`, where each component goes through its own epochs.

    Args:
      components: at least one, none empty.
      shuffle: False, the order of the sources.
      seed: with the components' names, decides everything.
      num_epochs: None, without end.
      start: the number of records to leave out at the beginning.
    """
    sizes = [component.size for component in components]
    if num_epochs is not None or len(components) == 1:
        name = "/".join(component.name for component in components)
        key = order_key(seed, name) if shuffle else None
        return _epochs(sum(sizes), key, num_epochs, start)
    rates = np.array([component.rate for component in components], np.float64)
    choices = Choices(rates / rates.sum(), order_key(seed, "mixing"))
    block, within = divmod(start, _CHOICES_AT_ONCE)
    streams = []
    for component, begin, used in zip(
        components, np.cumsum([0, *sizes[:-1]]), choices.counts(block), strict=True
    ):
        key = order_key(seed, component.name) if shuffle else None
        stream = _epochs(component.size, key, None, int(used))
        streams.append(stream.map(lambda place, begin=begin: place + begin))
    return tf.data.Dataset.choose_from_datasets(streams, choices.since(block)).skip(
        within
    )


def _epochs(
    size: int, key: int | None, num_epochs: int | None, start: int
) -> tf.data.Dataset:
    first, offset = divmod(start, size)
    last = _FOREVER if num_epochs is None else num_epochs

    def epoch(number: tf.Tensor) -> tf.data.Dataset:
        places = tf.range(size, dtype=tf.int64)
        if key is not None:
            places = tf.random.experimental.stateless_shuffle(
                places, seed=tf.stack([tf.constant(key, tf.int64), number])
            )
        return tf.data.Dataset.from_tensor_slices(places)

    return tf.data.Dataset.range(min(first, last), last).flat_map(epoch).skip(offset)


class Choices:
    """Numbers drawn with replacement, p ∝ share, block by block: found at any place.

    Args:
      shares: ``[R]`` float64, summing to 1.
      key: decides the draws.
    """

    def __init__(self, shares: np.ndarray, key: int):
        self._bounds = tf.constant(np.cumsum(shares)[:-1], tf.float64)
        self._size = len(shares)
        self._key = tf.constant(key, tf.int64)

    def since(self, block: int) -> tf.data.Dataset:
        """The choices of a block and of all that follow it."""
        blocks = tf.data.Dataset.range(block, _FOREVER)
        return blocks.map(self._draw).unbatch()

    def after(self, count: int) -> tf.data.Dataset:
        """All choices but the first so many."""
        block, within = divmod(count, _CHOICES_AT_ONCE)
        return self.since(block).skip(within)

    def counts(self, blocks: int) -> np.ndarray:
        """How often each number is chosen in the first blocks."""
        drawn = tf.data.Dataset.range(blocks).map(
            lambda number: tf.math.bincount(
                tf.cast(self._draw(number), tf.int32),
                minlength=self._size,
                dtype=tf.int64,
            ),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        none = tf.zeros([self._size], tf.int64)
        return drawn.reduce(none, lambda total, counts: total + counts).numpy()

    def _draw(self, number: tf.Tensor) -> tf.Tensor:
        drawn = tf.random.stateless_uniform(
            [_CHOICES_AT_ONCE],
            seed=tf.stack([self._key, number]),
            dtype=tf.float64,
        )
        return tf.searchsorted(self._bounds, drawn, side="right", out_type=tf.int64)


def order_key(seed: int, purpose: str) -> int:
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
