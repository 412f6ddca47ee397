"""Reviews of the simulated shop: half of the ratings come with words, and the words carry how well the item suited."""

import numpy as np
import pyarrow as pa

from sources.files import landing_table
from sources.shop_calendar import SECOND, as_days, as_times
from sources.shop_catalogue import PATHS, STYLES, Catalogue
from sources.shop_funnel import RATE
from sources.shop_ids import BLOCK_NUMBERS, item_ids, numbered, user_ids
from sources.shop_people import People
from sources.shop_visits import appeal

SHARE_WRITTEN = 0.5
#: By how well the item suited, worst first; a review joins two of its level.
PHRASES = (
    ("disappointed", "poor quality", "sent it back", "waste of money", "not for me"),
    ("not quite what I hoped", "a bit dear for what it is", "average at best", "would not buy again"),
    ("does the job", "fine for the price", "as described", "okay"),
    ("happy with it", "good quality", "well made", "would buy again"),
    ("perfect", "exactly my taste", "love it", "best purchase this year", "recommended to friends"),
)
_LEVELS = (-1.6, -0.5, 0.5, 1.6)


def reviews_table(
    rng: np.random.Generator, events: np.ndarray, catalogue: Catalogue, brands: list[str], people: People, block: int, end: int
) -> pa.Table:
    """The landing table `reviews`, written a minute or two after half of the ratings in `events`."""
    rated = events[events["type"] == RATE]
    rated = rated[rng.random(len(rated)) < SHARE_WRITTEN]
    created_at = rated["at"] + rng.integers(20 * SECOND, 240 * SECOND, len(rated))
    rated, created_at = rated[created_at < end], created_at[created_at < end]
    item, user = rated["item"].astype(np.int64), rated["user"].astype(np.int64)
    level = np.digitize(appeal(item, user, catalogue, people) + rng.normal(0, 0.4, len(item)), _LEVELS)
    picks = rng.random((len(item), 2))
    likes_brand = people.brand_taste[user, catalogue.brand[item]] > 0
    texts = []
    for place, (number, one, two) in enumerate(zip(level.tolist(), picks[:, 0].tolist(), picks[:, 1].tolist(), strict=True)):
        phrases = PHRASES[number]
        first = int(one * len(phrases))
        second = (first + 1 + int(two * (len(phrases) - 1))) % len(phrases)
        thing = f"{STYLES[catalogue.style[item[place]]].lower()} {PATHS[catalogue.leaf[item[place]]][2].lower()}"
        opinion = "another good one" if likes_brand[place] else "not my brand"
        texts.append(
            f"{phrases[first].capitalize()}. {thing.capitalize()} by {brands[catalogue.brand[item[place]]]}, {opinion}: {phrases[second]}."
        )
    columns = {
        "review_id": numbered("r", block * BLOCK_NUMBERS + np.arange(len(item))),
        "user_id": user_ids(people.first + user),
        "item_id": item_ids(item),
        "rating": rated["rating"].astype(float),
        "text": pa.array(texts, pa.string()),
        "created_at": as_times(created_at),
    }
    return landing_table("reviews", columns, as_days(created_at))
