"""Permutations and random numbers that are functions of a key: nothing is stored.

Any place of an order of any size is found at once, the same on every host and machine.
"""

import hashlib
import math

import numpy as np

# Rounds of the cipher. Eight make places of a hundred records even and independent; with
# five records it takes more until all 120 permutations come alike. All cost 1 µs a place.
ROUNDS = 16
_STEP = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio, made odd


def keys_of(seed: int, purpose: str, count: int) -> np.ndarray:
    """``[count]`` uint64, which nothing but the seed and the purpose decide."""
    digest = hashlib.shake_256(f"{seed}/{purpose}".encode()).digest(8 * count)
    return np.frombuffer(digest, "<u8").astype(np.uint64)


def random_bits(key: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """The numbers-th outputs of the generator SplitMix64 that begins at a key.

    Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014: the
    state moves by a constant, so that any output is found without those before it.

    Args:
      key: uint64 of ``[1]``, or of the shape of `numbers`.
      numbers: ``[N]`` uint64.

    Returns:
      ``[N]`` uint64.
    """
    # Arrays wrap around in silence where scalars would warn.
    bits = numbers * _STEP
    bits += key
    bits ^= bits >> np.uint64(30)
    bits *= np.uint64(0xBF58476D1CE4E5B9)
    bits ^= bits >> np.uint64(27)
    bits *= np.uint64(0x94D049BB133111EB)
    bits ^= bits >> np.uint64(31)
    return bits


class Permutations:
    """Permutations of the numbers below `size`, one for each epoch.

    A Feistel cipher over pairs: a number x is (x mod a, ⌊x / a⌋) with a b ≥ size, and
    each round adds a random function of one half to the other, modulo a or b, which the
    same sum taken away would undo. Numbers that land at `size` or beyond are enciphered
    again until they do not ("cycle walking"): as the cipher permutes the numbers below
    a b, a walk that began below `size` comes back there, and no two meet. (Black and
    Rogaway, "Ciphers with arbitrary finite domains", 2002, section 5.)

    Args:
      size: how many numbers, at least 1.
      seed: decides the permutations, together with
      purpose: what they order.
    """

    def __init__(self, size: int, seed: int, purpose: str):
        self._size = size
        # As near to a square as can be: few numbers are walked on, fewer than a.
        self._a = np.uint64(math.isqrt(size - 1) + 1)
        self._b = np.uint64(-(-size // int(self._a)))
        keys = keys_of(seed, purpose, ROUNDS + 1)
        self._epoch_key, self._round_keys = keys[:1], keys[1:]

    def __call__(self, places: np.ndarray, epochs: np.ndarray) -> np.ndarray:
        """What comes at places of epochs.

        Args:
          places: ``[N]`` integers in [0, size).
          epochs: ``[N]`` or ``[1]`` integers from 0.

        Returns:
          ``[N]`` int64 in [0, size).
        """
        keys = random_bits(self._epoch_key, epochs.astype(np.uint64))
        found = self._encipher(places.astype(np.uint64), keys)
        walking = np.flatnonzero(found >= self._size)
        while walking.size:
            own = keys if len(keys) == 1 else keys[walking]
            further = self._encipher(found[walking], own)
            found[walking] = further
            walking = walking[further >= self._size]
        return found.astype(np.int64)

    def _encipher(self, numbers: np.ndarray, keys: np.ndarray) -> np.ndarray:
        """Each number's image in [0, a b); `keys` are those of the epochs."""
        right, left = np.divmod(numbers, self._a)
        for number, key in enumerate(self._round_keys):
            if number % 2:
                right = (right + random_bits(keys + key, left) % self._b) % self._b
            else:
                left = (left + random_bits(keys + key, right) % self._a) % self._a
        return left + self._a * right
