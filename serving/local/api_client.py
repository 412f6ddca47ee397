"""Asks the house's own API, with the house's own key: portraits, recommendations, offers and risk decisions as the consumers get them."""

from typing import Any
from urllib.parse import quote

import httpx

from serving import keys
from settings import Settings


class ApiError(Exception):
    """The API's problem in one line: `exit_code` 3 for what is not there, 4 for what is not served or not allowed, 2 for a wrong
    parameter."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.exit_code = {404: 3, 400: 2, 422: 2, 401: 4, 403: 4, 429: 4, 503: 4}.get(status, 1)


class ApiClient:
    """One connection to the API of the house."""

    def __init__(self, settings: Settings) -> None:
        self.url = settings.api_url
        key = keys.house_key(settings)
        self._http = httpx.Client(base_url=self.url, timeout=60, headers={"Authorization": f"Bearer {key}"} if key else {})

    def portrait(self, user_id: str) -> dict[str, Any]:
        return self._get(f"/v1/users/{quote(user_id, safe='')}/portrait")

    def recommendations(self, user_id: str, k: int = 10) -> dict[str, Any]:
        return self._get(f"/v1/users/{quote(user_id, safe='')}/recommendations", k=k)

    def offers(self, user_id: str) -> dict[str, Any]:
        return self._get(f"/v1/users/{quote(user_id, safe='')}/offers")

    def order(self, body: dict[str, Any]) -> dict[str, Any]:
        """The verdict on an order; the same order with the same contents is decided once."""
        return self._asked("POST", "/v1/risk/orders", json=body, headers={"Idempotency-Key": f"order-{body['order_id']}"})

    def credit(self, body: dict[str, Any]) -> dict[str, Any]:
        """The decision on a credit application; the same application with the same contents is decided once."""
        return self._asked("POST", "/v1/risk/credit", json=body, headers={"Idempotency-Key": f"credit-{body['application_id']}"})

    def _get(self, path: str, **parameters: Any) -> dict[str, Any]:
        return self._asked("GET", path, params=parameters)

    def _asked(self, method: str, path: str, **what: Any) -> dict[str, Any]:
        try:
            answer = self._http.request(method, path, **what)
        except httpx.HTTPError as error:
            raise ApiError(503, f"The API at {self.url} does not answer ({error}). Start it with `portrait up`.") from error
        if answer.is_error:
            is_problem = answer.headers.get("content-type", "").startswith("application/problem+json")
            raise ApiError(answer.status_code, answer.json()["detail"] if is_problem else answer.text[:300])
        return answer.json()
