import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from control.address import Address, TcpAddress, UnixAddress
from control.listeners import ListenError, Listeners, open_listeners

Opener = Callable[..., Listeners]


@pytest.fixture
def listen() -> Iterator[Opener]:
    """Opens listeners, and closes them after the test."""
    opened: list[Listeners] = []

    def listen(*clients: Address, control: tuple[Address, ...] = (), workers: int = 1) -> Listeners:
        opened.append(open_listeners(clients, control, worker_count=workers))
        return opened[-1]

    yield listen
    for listeners in opened:
        listeners.close()


def connects(address: Address) -> bool:
    unix = isinstance(address, UnixAddress)
    family = socket.AF_UNIX if unix else socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family) as sock:
        where = address.path if isinstance(address, UnixAddress) else (address.host, address.port)
        return sock.connect_ex(where) == 0


LOOPBACK = TcpAddress("127.0.0.1", 0)


def test_every_worker_has_its_own_socket_on_the_same_port(listen: Opener) -> None:
    listeners = listen(LOOPBACK, workers=3)
    (address,) = listeners.addresses
    ports = {sock.getsockname()[1] for (sock,) in listeners.workers}
    assert ports == {address.port}
    assert len({sock.fileno() for (sock,) in listeners.workers}) == 3
    assert connects(address)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_ipv4_and_ipv6_may_have_the_same_port(listen: Opener, host: str) -> None:
    (first,) = listen(TcpAddress(host, 0)).addresses
    other = "::" if host == "127.0.0.1" else "0.0.0.0"
    assert listen(TcpAddress(other, first.port)).addresses == [TcpAddress(other, first.port)]


def test_a_name_is_listened_on_wherever_it_leads(listen: Opener) -> None:
    listeners = listen(TcpAddress("localhost", 0))
    assert listeners.addresses
    assert all(connects(address) for address in listeners.addresses)


def test_a_unix_socket_is_shared_by_all_workers(listen: Opener, tmp_path: Path) -> None:
    address = UnixAddress(str(tmp_path / "s"))
    listeners = listen(address, workers=2)
    assert listeners.workers[0] == listeners.workers[1]
    assert connects(address)


@pytest.mark.parametrize("reuse_port", [False, True])
def test_a_taken_port_is_refused_even_if_its_owner_would_share(
    listen: Opener, reuse_port: bool
) -> None:
    with socket.socket() as owner:
        if reuse_port:
            owner.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        owner.bind(("127.0.0.1", 0))
        owner.listen()
        taken = TcpAddress("127.0.0.1", owner.getsockname()[1])
        with pytest.raises(ListenError, match=f"cannot listen on {taken}: address already in use"):
            listen(taken)
        with pytest.raises(ListenError, match=f"cannot listen on {taken}: address already in use"):
            listen(control=(taken,))


def test_all_or_nothing(listen: Opener, tmp_path: Path) -> None:
    unix = UnixAddress(str(tmp_path / "s"))
    with pytest.raises(ListenError):
        listen(unix, control=(UnixAddress(str(tmp_path / "no" / "s")),))
    assert not Path(unix.path).exists()


def test_a_name_that_leads_nowhere_is_refused(listen: Opener) -> None:
    with pytest.raises(ListenError, match=r"cannot listen on a\.\.b:1: not a host name"):
        listen(TcpAddress("a..b", 1))


def test_a_socket_file_on_which_nobody_answers_is_replaced(listen: Opener, tmp_path: Path) -> None:
    address = UnixAddress(str(tmp_path / "s"))
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(address.path)
    listen(address)
    assert connects(address)


def test_a_socket_file_on_which_somebody_answers_is_left_alone(
    listen: Opener, tmp_path: Path
) -> None:
    address = UnixAddress(str(tmp_path / "s"))
    listen(address)
    with pytest.raises(ListenError, match="somebody answers on it"):
        listen(address)
    assert connects(address)


def test_a_file_that_is_no_socket_is_left_alone(listen: Opener, tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text("precious")
    with pytest.raises(ListenError, match="a file that is not a socket is in the way"):
        listen(UnixAddress(str(path)))
    assert path.read_text() == "precious"


def test_closing_removes_socket_files_once(tmp_path: Path) -> None:
    address = UnixAddress(str(tmp_path / "s"))
    first = open_listeners([address], [], worker_count=1)
    first.close()
    assert not Path(address.path).exists()
    second = open_listeners([address], [], worker_count=1)
    first.close()
    assert connects(address)
    second.close()
