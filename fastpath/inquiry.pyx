"""What control is asked about messages, and who waits for what it says (floor 4).

A question is asked once a group: sessions with the same traits, and the same ids where these
matter. Whoever moves on before the verdict has not had the message. What a verdict does to a
session is fan-out's business.
"""

cimport cython

from fastpath.frame cimport Message
from fastpath.outcome cimport Outcome
from fastpath.session cimport Roster, Session
from fastpath.table cimport NOWHERE, HoldTable, Spool
from fastpath.tally cimport Counter
from fastpath.variants cimport Variant

cdef enum:
    TRAITS_NEED_IDS = 1        # bit 0 of the first byte of traits
    ASKED_MAX = 10_000         # messages about which a verdict is awaited


@cython.final
cdef class Inquiry:
    """The questions of one worker."""

    def __init__(self, Roster roster):
        self._roster = roster
        self._met = {}
        self._asked = {}

    cdef Outcome begin(self) except Outcome.FAIL:
        self._met.clear()
        return Outcome.DONE

    cdef Outcome join(
        self, Message m, int mode, bytes traits, Session s, bytes expected
    ) except Outcome.FAIL:
        # Sessions whose ids matter are a group only with those that have the same ids.
        cdef list ids = []
        if traits and traits[0] & TRAITS_NEED_IDS:
            ids = [
                (channel, m.id if channel == m.channel and m.id is not None else last)
                for channel, last in self._roster.table.lasts(s.slot)
            ]
        self._met.setdefault((mode, m.action(mode), traits, tuple(ids)), {})[s.ref] = expected
        return Outcome.DONE

    cdef Outcome ask(self, Message m) except Outcome.FAIL:
        cdef list groups
        if not self._met:
            return Outcome.DONE
        groups = [(mode, action, traits, list(ids), refs)
                  for (mode, action, traits, ids), refs in self._met.items()]
        self._met.clear()
        if len(self._asked) >= ASKED_MAX:
            return self._unjudged(m, groups)
        self._number += 1
        self._asked[self._number] = (m, groups)
        if not self._roster.upstream.met(self._number, m, [group[:4] for group in groups]):
            del self._asked[self._number]
            return self._unjudged(m, groups)
        return Outcome.DONE

    cdef bint has_asked(self, uint32_t number, list verdicts) except -1:
        cdef tuple asked = self._asked.get(number)
        return asked is not None and len(asked[1]) == len(verdicts)

    cdef tuple take(self, uint32_t number):
        return self._asked.pop(number)

    cdef Outcome fail(
        self, Session s, Message m, bytes expected, bytes why
    ) except Outcome.FAIL:
        # It has not had the item: that is a gap, which what was asked about since must not hide.
        cdef Message later
        cdef bint hides = False
        if self._roster.table.spool_of(s.slot, m.channel) == NOWHERE:
            return Outcome.DONE
        if why:
            return s.fail(why)
        if expected is None:
            return Outcome.DONE
        self.expect(s, m.channel, expected)
        for later, groups in self._asked.values():
            if later.channel == m.channel:
                for _, _, _, _, refs in groups:
                    if s.ref in refs:
                        refs[s.ref] = expected
                        hides = True
        return s.ask_again() if hides else Outcome.DONE

    cdef Outcome expect(self, Session s, bytes channel, bytes prev_id) except Outcome.FAIL:
        # What follows for it on this channel, if it holds it still.
        cdef HoldTable table = self._roster.table
        cdef uint32_t number = table.spool_of(s.slot, channel)
        cdef Spool* spool
        if number == NOWHERE:
            return Outcome.DONE
        spool = table.spool(number)
        return table.hold(
            channel, <Variant> spool.variant, s.slot, prev_id,
            None if spool.traits is NULL else <bytes> spool.traits,
        )

    cdef Outcome _unjudged(self, Message m, list groups) except Outcome.FAIL:
        # Nobody says what a message becomes for them: they have not had it.
        cdef Session s
        self._roster.tally.add(Counter.DROPPED_UNJUDGED, len(groups))
        for _, _, _, _, refs in groups:
            for ref, expected in refs.items():
                s = self._roster.find(ref)
                if s is not None and expected is not None:
                    self.expect(s, m.channel, expected)
        return Outcome.DONE

    cdef list recall(self, Session s):
        cdef list recalled = []
        cdef Message m
        cdef bytes expected
        if not self._asked:                    # as nearly always
            return recalled
        for m, groups in reversed(self._asked.values()):   # the id before the first counts
            for _, _, _, _, refs in groups:
                if s.ref in refs:
                    expected = refs.pop(s.ref)
                    if expected is not None:
                        self.expect(s, m.channel, expected)
                    recalled.append(m)
        recalled.reverse()
        return recalled

    cdef Outcome forget(self) except Outcome.FAIL:
        cdef Message m
        for m, groups in reversed(self._asked.values()):   # the id before the first counts
            self._unjudged(m, groups)
        self._asked.clear()
        return Outcome.DONE
