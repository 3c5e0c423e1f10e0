"""Address books for tests: of a function instead of name servers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from agent.hosts.book import AddressBook, BookPatience
from agent.hosts.found import NO_ADDRESSES, UNANSWERED, FoundAddresses, by_family
from registry_core.blocking import Threads
from registry_core.ports.clock import Clock, SystemClock
from registry_core.resolution import is_no_such_name

# Longer than any test, for lookups that a test lets hang.
FOR_EVER_S: Final = 1000.0
# Nothing is fresh: each call is a lookup.
ALWAYS_ASKS: Final = BookPatience(fresh_least_s=0.0, fresh_most_s=0.0)


def book_of(
    ask: Callable[[str], Iterable[str]], patience: BookPatience = ALWAYS_ASKS, clock: Clock | None = None
) -> AddressBook:
    """Return a book whose names `ask` knows; it runs in a thread, may block, and may raise OSError.

    No addresses mean that nobody answered.
    """
    threads = Threads("book of a test", 64)

    async def look_up(host: str) -> FoundAddresses:
        try:
            found = await threads.run(lambda: tuple(ask(host)), timeout_s=FOR_EVER_S)
        except OSError as error:
            return NO_ADDRESSES if is_no_such_name(error) else UNANSWERED
        return by_family(found) if found else UNANSWERED

    return AddressBook(look_up, clock=clock if clock is not None else SystemClock(), patience=patience)
