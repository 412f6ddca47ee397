"""The catalogue of the simulated shop: items in a tree of categories, with brands, prices and words that carry both."""

from dataclasses import dataclass

import numpy as np

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
_SYLLABLES = ("Al", "Bre", "Cor", "Del", "Es", "Fa", "Gri", "Hol", "Iv", "Jun", "Kel", "Lu", "Mar", "Nor", "Or", "Pel")
_ENDINGS = ("ana", "berg", "co", "dale", "ero", "field", "ivo", "lund", "mont", "nova", "ora", "ton")
_ADJECTIVES = ("Classic", "Light", "Modern", "Soft", "Bold", "Pure", "Urban", "Everyday", "Signature", "Compact", "Fresh", "Natural")
_LEVELS = ("budget", "mid-range", "premium")


@dataclass(frozen=True)
class Catalogue:
    """Items by number, arrays of shape `(items,)` unless said; times are microseconds since 1970 UTC."""

    leaf: np.ndarray
    brand: np.ndarray  # number of the brand; brand // BRANDS_A_TOP is its top category
    price: np.ndarray
    price_level: np.ndarray  # log of price over what its top category usually costs
    log_popularity: np.ndarray
    listed_at: np.ndarray
    in_stock: np.ndarray
    next_items: np.ndarray  # (items, 3): what is looked at after it, likeliest first
    in_leaf: np.ndarray  # (leaves, widest leaf): the items of each leaf; -1 is padding

    @property
    def top(self) -> np.ndarray:
        return LEAF_TOP[self.leaf]


def make_catalogue(rng: np.random.Generator, items: int, start: int, end: int) -> Catalogue:
    """`items` items, two a leaf at least; one in eight is listed from `start` to `end`, the rest (some of every leaf) the year before."""
    share = rng.lognormal(0, 0.5, len(PATHS))
    leaf = np.concatenate([np.repeat(np.arange(len(PATHS)), 2), rng.choice(len(PATHS), items - 2 * len(PATHS), p=share / share.sum())])
    rng.shuffle(leaf)
    top = LEAF_TOP[leaf]
    brand = top * BRANDS_A_TOP + rng.integers(BRANDS_A_TOP, size=items)
    brand_level = np.tile([-0.55, -0.3, -0.1, 0.1, 0.3, 0.55], len(TOPS))
    price_level = brand_level[brand] + rng.normal(0, 0.25, items)
    ranks = rng.permutation(items)
    year = 365 * 86_400_000_000
    listed = np.where(rng.random(items) < 0.125, rng.integers(start, end, items), start - rng.integers(0, year, items))
    firsts = np.unique(leaf, return_index=True)[1]
    listed[firsts] = np.minimum(listed[firsts], start)

    in_leaf = np.full((len(PATHS), np.bincount(leaf).max()), -1)
    next_items = np.empty((items, 3), dtype=np.int64)
    for number in range(len(PATHS)):
        members = np.flatnonzero(leaf == number)
        in_leaf[number, : len(members)] = members
        ring = rng.permutation(members)  # a leaf's items stand in a ring, and people walk along it
        for step in range(3):
            next_items[ring, step] = np.roll(ring, -(step + 1))
    return Catalogue(
        leaf=leaf,
        brand=brand,
        price=np.round(BASE_PRICE[top] * np.exp(price_level), 2),
        price_level=price_level,
        log_popularity=-0.8 * np.log(ranks + 5.0),
        listed_at=listed,
        in_stock=rng.random(items) < 0.95,
        next_items=next_items,
        in_leaf=in_leaf,
    )


def item_words(rng: np.random.Generator, catalogue: Catalogue) -> dict[str, list[str]]:
    """Columns item_id, title, description, category and brand of the catalogue's items."""
    names = [start + ending for start in _SYLLABLES for ending in _ENDINGS]
    brands = [names[number] for number in rng.permutation(len(names))[: len(TOPS) * BRANDS_A_TOP]]
    words: dict[str, list[str]] = {"item_id": [], "title": [], "description": [], "category": [], "brand": []}
    adjectives = rng.integers(len(_ADJECTIVES), size=len(catalogue.leaf))
    for item, (leaf, brand, adjective) in enumerate(zip(catalogue.leaf, catalogue.brand, adjectives, strict=True)):
        top, middle, last = PATHS[leaf]
        level = _LEVELS[int(np.digitize(catalogue.price_level[item], [-0.3, 0.3]))]
        words["item_id"].append(f"i{item:06d}")
        words["title"].append(f"{brands[brand]} {_ADJECTIVES[adjective]} {last} {100 + item % 900}")
        words["description"].append(
            f"{_ADJECTIVES[adjective]} {level} {last.lower()} by {brands[brand]}, from our {middle.lower()} range for {top.lower()}."
        )
        words["category"].append(f"{top} > {middle} > {last}")
        words["brand"].append(brands[brand])
    return words
