"""What both planes know, they know alike."""

from __future__ import annotations

from control.errors import LinkError
from control.link import packets
from control.link.reports import PacketReader
from control.reasons import Reason
from fastpath import probe_wire


def header(op: int) -> bytes:
    return bytes((0, 0, 0, 0, op)) + bytes(11)


def names(members: type) -> dict[str, int]:
    return {member.name: int(member) for member in members}


def test_reports_have_the_same_op_codes() -> None:
    assert probe_wire.reports() == names(packets.Report)


def test_orders_have_the_same_op_codes() -> None:
    assert probe_wire.orders() == names(packets.Order)


def test_fastpath_takes_the_orders_of_control_and_nothing_else() -> None:
    taken = {op for op in range(256) if not probe_wire.read_packets(header(op))[2]}
    assert taken == set(packets.Order)


def test_control_takes_the_reports_of_fastpath_and_nothing_else() -> None:
    def takes(op: int) -> bool:
        try:
            return bool(list(PacketReader().feed(header(op))))
        except LinkError:
            return False

    assert {op for op in range(256) if takes(op)} == set(probe_wire.reports().values())


def test_limits_are_the_same() -> None:
    for name, limit in probe_wire.link_limits().items():
        assert getattr(packets, name) == limit, name


def test_modes_are_the_same() -> None:
    assert probe_wire.modes() == names(packets.Mode)


def test_kinds_are_the_same() -> None:
    assert probe_wire.kinds() == names(packets.Kind)


def test_signals_are_the_same() -> None:
    assert probe_wire.signals() == names(packets.Signal)


def test_reasons_are_the_same() -> None:
    assert probe_wire.reasons() == names(Reason)
