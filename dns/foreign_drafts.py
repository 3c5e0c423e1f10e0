"""Drafts of answers for foreign names: a resolver's reply, or our own words in its place.

An alias of a name in our zone is completed from the view, at each answer anew, so that a cached alias leads to the
instances of now. It never waits: a service that the view does not hold is fetched for the next question.
"""

from __future__ import annotations

import random as random_module

from dns.answers import Zone
from dns.codec import Answer, Query, Rcode
from dns.drafts import Draft, draft_of
from dns.foreign import ForeignReply
from dns.forwarding import ForeignAnswer
from dns.hop import Hop
from dns.relay import AgedMessages, completed_draft, leads_into, question_for, relay_draft
from registry_core.ports.local_view import LocalView


class ForeignDrafts:
    """Makes drafts, and completes aliases from `zone`."""

    def __init__(self, zone: Zone, view: LocalView, random: random_module.Random) -> None:
        self._zone = zone
        self._view = view
        self._random = random
        self._aged = AgedMessages()

    def draft(self, query: Query, found: ForeignAnswer, hop: Hop) -> Draft:
        """Return the draft of the answer to `query`, a question for a foreign name."""
        if isinstance(found, Answer):
            return draft_of(query, found, hop.room, over_tcp=hop.over_tcp)
        name = leads_into(self._zone.apex, found.reply, query.qtype)
        completed = None
        if name is not None:
            asked = question_for(query, name)
            answer = self._own(asked, hop)
            if answer.rcode is not Rcode.SERVFAIL or not _has_answer(found.reply, query.qtype):
                completed = completed_draft(query, found, asked, answer, hop)
        return completed if completed is not None else relay_draft(query, found, hop.room, self._aged)

    def _own(self, asked: Query, hop: Hop) -> Answer:
        found = self._zone.answer(asked, self._random, hop.size)
        if found.lacking:
            self._view.fetch(found.label)
        return found.answer


def _has_answer(reply: ForeignReply, qtype: int) -> bool:
    """Return whether a resolver found records of that type, so that it knows our zone."""
    return reply.rcode == Rcode.NOERROR and any(mark.section == 0 and mark.type == qtype for mark in reply.marks)
