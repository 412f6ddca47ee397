"""Which users a model never learned from. Imports nothing heavy: serving asks too, to judge a plan by people its model has not seen."""

import numpy as np
import pandas as pd


def part_of(user_ids: pd.Series, seed: int) -> np.ndarray:
    """A number in [0, 1) for each user, the same whenever the user is asked, `(rows,)`."""
    hashes = pd.util.hash_array(user_ids.astype(str).to_numpy(object), hash_key=f"{seed:016d}"[:16])
    return hashes / 2.0**64
