"""Whatever is lost, doubled or late on the way, each client sees each item once and in order.

A model of the whole way of reliable streams (GRIP.md 1.9): publishers whose items get lost, an
origin that knows all of them, the sequencer, the decisions and the sharing of control as they are,
and the worker's rules of fastpath/LINK.md (Links) as plain Python. Hypothesis says what happens
when.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from control.grip.item import Item, items_from_json
from control.grip.sequence import Sequencer
from control.links import Ask, Home, decide_new_conflicts

CHANNELS = ("a", "b")
HOME = Home("r", "http://o.test")
WAIT_SECONDS = 5.0
QUEUE_MAX = 4  # small, so that it overflows
ROUNDS_MAX = QUEUE_MAX + 2  # pages that a session needs at most, once nothing is published


def item_of(channel: str, number: int) -> Item:
    form = '"http-stream":{"content":"x"}'
    ids = f'"id":"{number}","prev-id":"{number - 1}"'
    [item] = items_from_json(f'{{"items":[{{"channel":"{channel}",{ids},{form}}}]}}'.encode())
    return item


@dataclass(eq=False)
class Session:
    """A client, and what its worker knows of it."""

    seen: dict[str, list[int]]
    ids: dict[str, str]  # the current prev-ids, or those of the answer that is on its way
    is_held: bool = False
    has_lapsed: bool = False
    waiting: deque[Item] = field(default_factory=deque)

    def meet(self, item: Item) -> None:
        """An item is published."""
        if self.has_lapsed:
            if len(self.waiting) < QUEUE_MAX:
                self.waiting.append(item)
        elif self.ids[item.channel] == item.prev_id:
            assert item.id is not None
            self.ids[item.channel] = item.id
            self.seen[item.channel].append(int(item.id))
        else:
            self.has_lapsed = True
            self.waiting.append(item)

    def hold_again(self, ids: dict[str, str]) -> None:
        """A page has been relayed, and its HOLD has come."""
        self.ids, self.has_lapsed = dict(ids), False
        waiting, self.waiting = self.waiting, deque()
        while waiting and self.ids[waiting[0].channel] != waiting[0].prev_id:
            waiting.popleft()
        for item in waiting:
            self.meet(item)


@dataclass
class Page:
    """An answer of the origin that is on its way to those who share it."""

    sessions: list[Session]
    items: dict[str, list[int]]
    ids: dict[str, str]


class World:
    """Everything between publishers and clients."""

    def __init__(self, *, remembers_ids: bool) -> None:
        self.now = 0.0
        ttl_seconds = 60.0 if remembers_ids else 0.0
        self.sequencer = Sequencer(wait_seconds=WAIT_SECONDS, id_ttl_seconds=ttl_seconds)
        self.stored = dict.fromkeys(CHANNELS, 0)  # what the origin knows: 1 up to this
        self.on_the_way: list[Item] = []
        self.sessions: list[Session] = []
        self.asking: dict[Ask, list[Session]] = {}
        self.pages: list[Page] = []

    def ids(self) -> dict[str, str]:
        return {channel: str(number) for channel, number in self.stored.items()}

    def publish(self, choice: int) -> None:
        """The origin stores an item, and then publishes it."""
        channel = CHANNELS[choice % 2]
        self.stored[channel] += 1
        self.on_the_way.append(item_of(channel, self.stored[channel]))

    def lose(self, choice: int) -> None:
        if self.on_the_way:
            self.on_the_way.pop(choice % len(self.on_the_way))

    def arrive(self, choice: int, *, is_doubled: bool = False) -> None:
        """An item reaches control, not always the oldest."""
        if self.on_the_way:
            at = choice % len(self.on_the_way)
            item = self.on_the_way[at] if is_doubled else self.on_the_way.pop(at)
            self.deliver(self.sequencer.push(item, self.now, self.is_subscribed()))

    def arrive_twice(self, choice: int) -> None:
        self.arrive(choice, is_doubled=True)

    def wait(self, choice: int) -> None:
        """Time passes."""
        self.now += choice % 7
        self.deliver(self.sequencer.due(self.now, lambda _channel: self.is_subscribed()))

    def is_subscribed(self) -> bool:
        return any(session.is_held for session in self.sessions)

    def deliver(self, items: list[Item]) -> None:
        for item in items:
            for session in self.sessions:
                if session.is_held:
                    session.meet(item)

    def connect(self, _choice: int) -> None:
        """The origin answers a new client: all that there is, and a hold."""
        seen = {channel: [*range(1, number + 1)] for channel, number in self.stored.items()}
        self.sessions.append(Session(seen, self.ids()))

    def hold(self, choice: int) -> None:
        """Its answer becomes a hold, in one step with the comparison of ids."""
        unheld = [session for session in self.sessions if not session.is_held]
        if unheld:
            session = unheld[choice % len(unheld)]
            session.is_held = True
            self.compare(session, frozenset())

    def compare(self, session: Session, followed: frozenset[str]) -> None:
        channels = [(channel, session.ids[channel]) for channel in CHANNELS]
        if decide_new_conflicts(channels, followed, self.sequencer.last_id):
            session.has_lapsed = True

    def time_out(self, choice: int) -> None:
        """A link timeout passes, or a hint comes."""
        held = [session for session in self.sessions if session.is_held]
        if held:
            held[choice % len(held)].has_lapsed = True

    def ask(self, choice: int) -> None:
        """The origin answers a next link; who comes later is not given this answer."""
        under_way = {id(session) for page in self.pages for session in page.sessions}
        topics: dict[Ask, list[Session]] = {}
        for session in self.sessions:
            if session.has_lapsed and id(session) not in under_way:
                lasts = tuple(session.ids.items())
                topics.setdefault(Ask.to(HOME, "http://o.test/p", lasts), []).append(session)
        if topics:
            ask = list(topics)[choice % len(topics)]
            items = {
                channel: [*range(int(last) + 1, self.stored[channel] + 1)]
                for channel, last in ask.ordered
            }
            self.pages.append(Page(topics[ask], items, self.ids()))

    def relay(self, choice: int) -> None:
        """An answer reaches those who share it."""
        if self.pages:
            page = self.pages.pop(choice % len(self.pages))
            for session in page.sessions:
                for channel, numbers in page.items.items():
                    session.seen[channel] += numbers
                session.hold_again(page.ids)
                self.compare(session, frozenset(CHANNELS))

    def heal(self) -> None:
        """Nothing is published any more, and every link timeout passes."""
        self.on_the_way.clear()
        while any(not session.is_held for session in self.sessions):
            self.hold(0)
        self.wait(6)
        while self.pages:
            self.relay(0)
        for number in range(len(self.sessions)):
            self.time_out(number)
        for _ in range(ROUNDS_MAX * len(self.sessions)):
            if not any(session.has_lapsed for session in self.sessions):
                return
            self.ask(0)
            self.relay(0)
        assert not self.sessions, "streams that are asked for again and again"

    def check(self) -> None:
        for session in self.sessions:
            for channel, numbers in session.seen.items():
                assert numbers == [*range(1, len(numbers) + 1)], channel


STEPS = (
    *(World.publish, World.publish, World.arrive, World.arrive, World.arrive),
    *(World.lose, World.arrive_twice, World.wait, World.connect, World.hold),
    *(World.time_out, World.ask, World.ask, World.relay, World.relay),
)


@settings(max_examples=3000, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 20)), max_size=60),
    st.booleans(),
)
def test_each_client_sees_each_item_once_and_in_order(steps, remembers_ids: bool) -> None:
    world = World(remembers_ids=remembers_ids)
    for step, choice in steps:
        step(world, choice)
        world.check()
    world.heal()
    world.check()
    for session in world.sessions:
        assert {channel: len(seen) for channel, seen in session.seen.items()} == world.stored
