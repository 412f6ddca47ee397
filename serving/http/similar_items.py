"""`GET /v1/items/{item_id}/similar`, over whatever function finds similar items."""

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from serving.http.access import needs
from serving.http.answers import UtcTime
from serving.http.parameters import ItemId, K
from serving.http.problems import told_in_schema

#: Finds up to `k` items like the one of that id: `items`, each with `rank`, `card` and `similarity`; `source`, `note`, `vector_version` and
#: `as_of`.
SimilarItems = Callable[[str, int], Any]


class SimilarItem(BaseModel):
    """One item like the one that was asked about."""

    rank: int = Field(ge=1)
    item_id: str
    title: str | None
    category: str | None
    price: float | None
    similarity: float | None = Field(description="cosine of the items' vectors; null for what stands in by popularity")


class SimilarAnswer(BaseModel):
    """Items like an item, most alike first."""

    item_id: str
    items: list[SimilarItem]
    source: str = Field(description="`vectors` or `popularity`")
    note: str | None
    vector_version: str | None
    as_of: UtcTime


def similar_router(similar: SimilarItems) -> APIRouter:
    """The route over `similar`."""
    router = APIRouter(prefix="/v1")

    @router.get(
        "/items/{item_id:path}/similar",
        tags=["recommendation"],
        dependencies=[needs("read:recommendations")],
        responses=told_in_schema("unknown-item", "not-served"),
    )
    def get_similar(item_id: ItemId, k: K = 10) -> SimilarAnswer:
        """Items that customers would take for the given one: alike in words and in the company they keep."""
        found = similar(item_id, k)
        told = {name: getattr(found, name) for name in ("source", "note", "vector_version", "as_of")}
        return SimilarAnswer(item_id=item_id, items=[_place(place) for place in found.items], **told)

    return router


def _place(place: Any) -> SimilarItem:
    card = {name: getattr(place.card, name) for name in ("item_id", "title", "category", "price")}
    return SimilarItem(rank=place.rank, similarity=place.similarity, **card)
