"""`GET /v1/items/{item_id}/similar`."""

from dataclasses import asdict

from fastapi import APIRouter
from pydantic import BaseModel, Field

from serving.http.access import needs
from serving.http.answers import PlacedItem, UtcTime
from serving.http.parameters import ItemId, K
from serving.http.problems import told_in_schema
from serving.similar import similar

router = APIRouter(prefix="/v1")


class SimilarItem(PlacedItem):
    """One item like the one that was asked about."""

    similarity: float | None = Field(description="cosine of the items' vectors, 1 is the same; null for what stands in by popularity")


class SimilarAnswer(BaseModel):
    """Items like an item, most alike first."""

    item_id: str
    items: list[SimilarItem]
    source: str = Field(description="`vectors` or `popularity`")
    note: str | None = Field(description="why it is not by vectors")
    vector_version: str | None
    as_of: UtcTime


@router.get(
    "/items/{item_id:path}/similar",
    tags=["recommendation"],
    dependencies=[needs("read:recommendations")],
    responses=told_in_schema("unknown-item", "not-served"),
)
def get_similar(item_id: ItemId, k: K = 10) -> SimilarAnswer:
    """Items that customers would take for the given one: alike in words and in the company they keep."""
    found = similar(item_id, k)
    items = [{**asdict(place), **asdict(place.card)} for place in found.items]
    return SimilarAnswer.model_validate(asdict(found) | {"item_id": item_id, "items": items})
