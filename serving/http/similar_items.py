"""`GET /v1/items/{item_id}/similar`, over whatever function finds similar items."""

from typing import Annotated, Any, Protocol

from fastapi import APIRouter
from pydantic import BaseModel, Field

from serving.http.access import needs
from serving.http.parameters import ItemId, K
from serving.http.problems import ProblemError, told_in_schema


class SimilarItems(Protocol):
    """Yields up to `k` items like the given one, most alike first, as objects with `item_id`, `title` and `similarity`; `LookupError` where
    the item is unknown."""

    def __call__(self, item_id: str, k: int) -> Any: ...


class SimilarItem(BaseModel):
    """One item like the one that was asked about."""

    item_id: str
    title: str | None
    similarity: float = Field(description="cosine of the items' vectors: 1 is the same")


class SimilarAnswer(BaseModel):
    """Items like an item, most alike first."""

    item_id: str
    items: Annotated[list[SimilarItem], Field(max_length=200)]


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
        try:
            found = similar(item_id, k)
        except LookupError as unknown:
            raise ProblemError("unknown-item", f"Similar items need an item that the shop knows. Received {item_id!r}.") from unknown
        return SimilarAnswer(item_id=item_id, items=[SimilarItem.model_validate(item, from_attributes=True) for item in found])

    return router
