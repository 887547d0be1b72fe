"""Control messages (GRIP.md 5.4; checklist 172, 174, 178 to 180)."""

from __future__ import annotations

import pytest

from control.grip.instruct import KeepAliveMode
from control.grip.item import WsType
from control.grip.wscontrol import (
    Control,
    Detach,
    FlushDelayed,
    KeepAlive,
    SendDelayed,
    SetMeta,
    Subscribe,
    Unsubscribe,
    parse_control,
)


@pytest.mark.parametrize(
    ("text", "control"),
    [
        ('{"type":"subscribe","channel":"a"}', Subscribe("a")),
        ('{"type":"subscribe","channel":"a","filters":["x"]}', Subscribe("a", ("x",))),
        ('{"type":"unsubscribe","channel":"a"}', Unsubscribe("a")),
        ('{"type":"detach","else":1}', Detach()),
        ('{"type":"set-meta","name":"user","value":"dana"}', SetMeta("user", "dana")),
        ('{"type":"set-meta","name":"user","value":null}', SetMeta("user", None)),
        ('{"type":"set-meta","name":"user"}', SetMeta("user", None)),
        ('{"type":"keep-alive","content":"{}"}', KeepAlive(b"{}")),
        ('{"type":"keep-alive","content":"a","timeout":0}', KeepAlive(b"a", timeout_seconds=55)),
        ('{"type":"keep-alive","content":"a","mode":"odd"}', KeepAlive(b"a")),
        (
            '{"type":"keep-alive","content":"a","timeout":20,"mode":"interval",'
            '"message-type":"ping"}',
            KeepAlive(b"a", WsType.PING, 20, KeepAliveMode.INTERVAL),
        ),
        ('{"type":"keep-alive","content-bin":"AP8="}', KeepAlive(b"\x00\xff", WsType.TEXT)),
        ('{"type":"keep-alive","timeout":"x"}', KeepAlive()),
        ('{"type":"send-delayed","content":"bye"}', SendDelayed(b"bye", timeout_seconds=1)),
        (
            '{"type":"send-delayed","content":"bye","timeout":5,"message-type":"binary"}',
            SendDelayed(b"bye", WsType.BINARY, 5),
        ),
        ('{"type":"flush-delayed"}', FlushDelayed()),
    ],
)
def test_a_control_message_is_read(text: str, control: Control) -> None:
    assert parse_control(text.encode()) == control


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is not valid JSON"),
        ("{", "is not valid JSON"),
        ("[]", "is not an object"),
        ("{}", "does not contain 'type'"),
        ('{"type":1}', "contains 'type' with wrong type"),
        ('{"type":"publish"}', "contains 'type' with unknown value"),
        ('{"type":"subscribe"}', "does not contain 'channel'"),
        ('{"type":"subscribe","channel":""}', "contains 'channel' with invalid value"),
        ('{"type":"subscribe","channel":1}', "contains 'channel' with wrong type"),
        ('{"type":"subscribe","channel":"a","filters":"x"}', "contains 'filters' with wrong type"),
        ('{"type":"unsubscribe"}', "does not contain 'channel'"),
        ('{"type":"set-meta","name":""}', "contains 'name' with invalid value"),
        ('{"type":"set-meta","name":"a","value":1}', "contains 'value' with wrong type"),
        ('{"type":"send-delayed","content":"","timeout":-1}', "contains 'timeout' with"),
        (
            '{"type":"keep-alive","content":"a","message-type":"morse"}',
            "contains 'message-type' with unknown value",
        ),
        ('{"type":"send-delayed"}', "does not contain 'content' or 'content-bin'"),
    ],
)
def test_172_a_malformed_control_message_says_why_it_is_ignored(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=f"control message {why}"):
        parse_control(text.encode())
