"""The catalogue of the simulated shop: items in a tree of categories, with brands, prices and words that carry both."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from sources.files import landing_table
from sources.shop_calendar import DAY, as_days, as_times
from sources.shop_ids import item_ids

TREE = {
    "Women": {
        "Dresses": "Summer Dresses,Evening Dresses,Maxi Dresses",
        "Tops": "Blouses,T-Shirts,Knitwear",
        "Shoes": "Heels,Sandals,Ankle Boots",
    },
    "Men": {
        "Shirts": "Oxford Shirts,Polo Shirts,Linen Shirts",
        "Trousers": "Jeans,Chinos,Shorts",
        "Footwear": "Loafers,Trainers,Work Boots",
    },
    "Electronics": {
        "Audio": "Headphones,Speakers,Turntables",
        "Computing": "Keyboards,Monitors,Laptops",
        "Gaming": "Consoles,Controllers,Headsets",
    },
    "Home": {"Kitchen": "Knives,Pans,Coffee Makers", "Living": "Cushions,Lamps,Rugs", "Bedroom": "Duvets,Pillows,Bed Linen"},
    "Beauty": {
        "Skin Care": "Moisturisers,Serums,Sun Creams",
        "Hair": "Shampoos,Conditioners,Hair Oils",
        "Make-up": "Lipsticks,Mascaras,Foundations",
    },
    "Sports": {
        "Running": "Running Shoes,Running Jackets,Sports Watches",
        "Cycling": "Helmets,Bike Lights,Jerseys",
        "Yoga": "Yoga Mats,Leggings,Blocks",
    },
    "Children": {"Toys": "Building Sets,Dolls,Puzzles", "Baby": "Prams,Bottles,Carriers", "School": "Backpacks,Pencil Cases,Lunch Boxes"},
    "Groceries": {"Drinks": "Coffee Beans,Teas,Juices", "Pantry": "Pastas,Olive Oils,Spices", "Snacks": "Chocolates,Nuts,Crisps"},
}
TOPS = tuple(TREE)
PATHS = tuple((top, middle, leaf) for top, middles in TREE.items() for middle, leaves in middles.items() for leaf in leaves.split(","))
LEAF_TOP = np.array([TOPS.index(top) for top, _, _ in PATHS])
LEAVES_A_MIDDLE = 3  # leaves 3m, 3m + 1, 3m + 2 share a middle category
CONSUMABLE_TOPS = (TOPS.index("Beauty"), TOPS.index("Groceries"))
BASE_PRICE = np.array([45.0, 42.0, 140.0, 48.0, 18.0, 60.0, 32.0, 8.0])  # by top category
BRANDS_A_TOP = 6
SLOTS_AN_ITEM = 16  # places in a category's lottery for each item of the fullest one
_SYLLABLES = ("Al", "Bre", "Cor", "Del", "Es", "Fa", "Gri", "Hol", "Iv", "Jun", "Kel", "Lu", "Mar", "Nor", "Or", "Pel")
_ENDINGS = ("ana", "berg", "co", "dale", "ero", "field", "ivo", "lund", "mont", "nova", "éra", "ström")
STYLES = ("Classic", "Light", "Modern", "Soft", "Bold", "Pure", "Urban", "Everyday", "Signature", "Compact", "Fresh", "Natural")
_LEVELS = ("budget", "mid-range", "premium")


_COLOURS = ("black", "white", "blue", "red", "green", "grey", "beige", "pink")
_MATERIALS = ("cotton", "wool", "steel", "glass", "wood", "leather", "recycled", "ceramic")


@dataclass(frozen=True)
class Catalogue:
    """Items by number, arrays of shape `(items,)` unless said; times are microseconds since 1970 UTC."""

    leaf: np.ndarray
    brand: np.ndarray  # number of the brand; brand // BRANDS_A_TOP is its top category
    style: np.ndarray  # number of the word in STYLES that its title carries
    cents: np.ndarray  # list price
    price_level: np.ndarray  # log of price over what its top category usually costs, float32
    popularity: np.ndarray
    listed_at: np.ndarray
    in_stock: np.ndarray
    next_items: np.ndarray  # (items, 3): what is looked at after it, likeliest first
    lottery: np.ndarray  # (leaves, slots): items of each leaf, each in as many slots as its popularity earns
    first_item: np.ndarray  # (leaves,): an item that was on offer before the window

    @property
    def top(self) -> np.ndarray:
        return LEAF_TOP[self.leaf]


def make_catalogue(rng: np.random.Generator, items: int, start: int, end: int) -> Catalogue:
    """`items` items, two a leaf at least; one in eight is listed from `start` to `end`, the rest (some of every leaf) the year before.

    Popularity falls with the rank as `(rank + 5) ** -0.8`: a long tail.
    """
    share = rng.lognormal(0, 0.5, len(PATHS))
    leaf = np.concatenate([np.repeat(np.arange(len(PATHS)), 2), rng.choice(len(PATHS), items - 2 * len(PATHS), p=share / share.sum())])
    rng.shuffle(leaf)
    top = LEAF_TOP[leaf]
    brand = top * BRANDS_A_TOP + rng.integers(BRANDS_A_TOP, size=items)
    brand_level = np.tile([-0.55, -0.3, -0.1, 0.1, 0.3, 0.55], len(TOPS))
    price_level = brand_level[brand] + rng.normal(0, 0.25, items)
    popularity = (rng.permutation(items) + 5.0) ** -0.8
    listed = np.where(rng.random(items) < 0.125, rng.integers(start, end, items), start - rng.integers(0, 365 * DAY, items))
    firsts = np.unique(leaf, return_index=True)[1]
    listed[firsts] = np.minimum(listed[firsts], start)

    slots = SLOTS_AN_ITEM * int(np.bincount(leaf).max())
    lottery = np.empty((len(PATHS), slots), np.int32)
    next_items = np.empty((items, 3), np.int32)
    for number in range(len(PATHS)):
        members = np.flatnonzero(leaf == number)
        chances = np.cumsum(popularity[members])
        lottery[number] = members[np.searchsorted(chances / chances[-1], (np.arange(slots) + 0.5) / slots)]
        ring = rng.permutation(members)  # a leaf's items stand in a ring, and people walk along it
        for step in range(3):
            next_items[ring, step] = np.roll(ring, -(step + 1))
    return Catalogue(
        leaf=leaf,
        brand=brand,
        style=rng.integers(len(STYLES), size=items),
        cents=np.rint(100 * BASE_PRICE[top] * np.exp(price_level)).astype(np.int64),
        price_level=price_level.astype(np.float32),
        popularity=popularity,
        listed_at=listed,
        in_stock=rng.random(items) < 0.95,
        next_items=next_items,
        lottery=lottery,
        first_item=firsts,
    )


def brand_names(rng: np.random.Generator) -> list[str]:
    """A name for every brand; some carry letters beyond ASCII."""
    names = [start + ending for start in _SYLLABLES for ending in _ENDINGS]
    return [names[number] for number in rng.permutation(len(names))[: len(TOPS) * BRANDS_A_TOP]]


def items_table(catalogue: Catalogue, brands: list[str], start: int) -> pa.Table:
    """The landing table `items`: titles carry brand, style and category; descriptions the price level as well."""
    titles, descriptions, categories = [], [], []
    levels = np.digitize(catalogue.price_level, [-0.3, 0.3])
    for item, (leaf, brand, style, level) in enumerate(zip(catalogue.leaf, catalogue.brand, catalogue.style, levels, strict=True)):
        top, middle, last = PATHS[leaf]
        titles.append(f"{brands[brand]} {STYLES[style]} {last} {100 + item % 900}")
        descriptions.append(
            f"{STYLES[style]} {_LEVELS[level]} {last.lower()} by {brands[brand]}, from our {middle.lower()} range for {top.lower()}."
        )
        categories.append(f"{top} > {middle} > {last}")
    columns = {
        "item_id": item_ids(np.arange(len(titles))),
        "title": titles,
        "description": descriptions,
        "category": categories,
        "brand": [brands[brand] for brand in catalogue.brand],
        "price": catalogue.cents / 100,
        "listed_at": as_times(catalogue.listed_at),
        "in_stock": catalogue.in_stock,
    }
    return landing_table("items", columns, as_days(np.maximum(catalogue.listed_at, start)))


def attributes_table(rng: np.random.Generator, catalogue: Catalogue, start: int) -> pa.Table:
    """The landing table `item_attributes`: style, colour and material of every item."""
    items = len(catalogue.leaf)
    numbers = np.repeat(np.arange(items), 3)
    values = np.stack([np.array(STYLES)[catalogue.style], rng.choice(_COLOURS, items), rng.choice(_MATERIALS, items)], axis=1)
    columns = {"item_id": item_ids(numbers), "attribute": np.tile(["style", "colour", "material"], items), "value": values.ravel()}
    return landing_table("item_attributes", columns, as_days(np.maximum(catalogue.listed_at, start))[numbers])
