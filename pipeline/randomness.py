"""The one source of random numbers: a counter-based generator that needs no replay."""

import numpy as np


def generator(seed: int, purpose: str, *position: int) -> np.random.Generator:
    """Return a generator that depends on nothing but its arguments.

    Philox (Salmon et al. 2011) is keyed by seed and purpose, its counter starts at the position; so a run resumed at
    epoch 30 draws what the unbroken run drew, however many threads share the work.

    Args:
        seed: Seed of the run, 0 to 2^64 - 1.
        purpose: What is drawn, up to eight ASCII letters; different purposes never share numbers.
        position: Up to two counts that say which draw this is, such as epoch and batch.
    """
    if not 0 <= seed < 2**64:
        raise ValueError(f"seed must be a whole number from 0 to 2^64 - 1, got {seed}")
    key = [seed, int.from_bytes(purpose.encode("ascii"), "big")]
    # the lower two of the counter's four words count the numbers drawn, the upper two say where they start
    counter = [0, 0, *position, *[0] * (2 - len(position))]
    return np.random.Generator(np.random.Philox(key=np.array(key, np.uint64), counter=np.array(counter, np.uint64)))
