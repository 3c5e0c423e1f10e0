"""The deny list of the registry that a follower follows, which the follower applies to certificates on its own port."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Final

import aiohttp

from registry_core.api.certificate_schemas import DenialView, DeniedView
from registry_core.bodies import decoded
from registry_core.causes import cause_of
from registry_core.errors import StoreUnavailable
from registry_core.follow.link import UpstreamLink
from registry_core.ports.denials import Denial, DenialsRead
from registry_core.upstreams.choice import Use

READ_S: Final = 3.0
MAX_LIST_BYTES: Final = 4 * 1024 * 1024


class UpstreamDenials:
    """A `DenialStore` that reads the upstream's list; while it is away, what it held before counts."""

    def __init__(self, link: UpstreamLink) -> None:
        self._link = link
        self._held: tuple[Denial, ...] = ()
        self._known = False

    async def add(self, denial: Denial) -> None:
        """Raise StoreUnavailable: denials are passed on to the registry."""
        raise StoreUnavailable(f"this registry follows another one, which denies {denial.subject!r}")

    async def read(self) -> DenialsRead:
        """Return what the upstream denies, or denied when it was last read."""
        url = self._link.upstreams.current(Use.WATCH) or self._link.urls[0]
        try:
            within = aiohttp.ClientTimeout(total=READ_S)
            answer = await self._link.requests.open("GET", url, "/certificates/denied", within=within)
            async with answer.response as response:
                body = await answer.read(MAX_LIST_BYTES)
                status = response.status
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return self._unread(url, cause_of(error))
        if status == HTTPStatus.NOT_FOUND:  # of the release before, which has no deny list
            self._held, self._known = (), True
            return DenialsRead(())
        view = decoded(body, DeniedView) if body is not None and status == HTTPStatus.OK else None
        if view is None:
            return self._unread(url, f"HTTP {status}")
        try:
            self._held, self._known = tuple(map(_denial, view.denied)), True
        except ValueError:
            return self._unread(url, "it cannot be read")
        return DenialsRead(self._held, tuple((url, why) for why in view.unread))

    def _unread(self, url: str, why: str) -> DenialsRead:
        return DenialsRead(self._held, ((url, why),), self._known)


def _denial(view: DenialView) -> Denial:
    at, until = (datetime.fromisoformat(text).timestamp() for text in (view.at, view.until))
    return Denial(subject=view.subject, at=at, until=until, reason=view.reason)
