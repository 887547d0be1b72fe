import pytest

from control.address import Address, TcpAddress, UnixAddress, parse_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:80", TcpAddress("127.0.0.1", 80)),
        ("localhost:65535", TcpAddress("localhost", 65535)),
        ("[::1]:80", TcpAddress("::1", 80)),
        ("unix:/run/x.sock", UnixAddress("/run/x.sock")),
    ],
)
def test_an_address_is_read_and_written_alike(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert str(address) == text


def test_a_lone_port_means_the_default_host() -> None:
    assert parse_address("80", default_host="0.0.0.0") == TcpAddress("0.0.0.0", 80)


def test_port_0_is_for_listeners_only() -> None:
    assert parse_address("a:0", port_min=0) == TcpAddress("a", 0)
    with pytest.raises(ValueError, match="port '0' is not a number from 1 to 65535"):
        parse_address("a:0")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("localhost", "has no port"),
        ("", "has no port"),
        (":80", "has no host"),
        ("a:65536", "not a number"),
        ("a:http", "not a number"),
        ("a:-1", "not a number"),
        ("a:٣", "not a number"),
        ("::1:80", r"is written \[ADDR\]:PORT"),
        ("[::1]", r"is written \[ADDR\]:PORT"),
        ("http://a:80", r"is written \[ADDR\]:PORT"),
        ("a b:80", "is not a host"),
        ("a/b:80", "is not a host"),
        ("unix:", "needs a path"),
        ("unix:/" + "x" * 107, "at most 107 bytes"),
    ],
)
def test_what_is_no_address_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_address(text)
