import pytest

from control.address import TcpAddress, UnixAddress
from control.routes import BuiltIn, Route, Routes, Target, describe
from control.routes_line import Section, split_line


def read(*lines: str) -> Routes:
    routes, errors = Routes.parse("\n".join(lines), "routes")
    assert errors == []
    return routes


def only(line: str) -> Route:
    (route,) = read(line)
    return route


def complaints(*lines: str) -> list[str]:
    return [str(error) for error in Routes.parse("\n".join(lines), "routes")[1]]


def chosen(
    routes: Routes, host: str, path: str = "/", *, ws: bool = False, tls: bool = False
) -> str:
    route = routes.match(host, path, ws, tls)
    return route.id if route else ""


# -- the grammar of a line -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "sections"),
    [
        ("", []),
        ("   ", []),
        ("# all of it", []),
        ("* a:1", [Section("*", ()), Section("a:1", ())]),
        ("  *   a:1  ", [Section("*", ()), Section("a:1", ())]),
        (
            "*,ssl=yes,debug a:1",
            [Section("*", (("ssl", "yes"), ("debug", ""))), Section("a:1", ())],
        ),
        ("id=x,debug a:1", [Section("", (("id", "x"), ("debug", ""))), Section("a:1", ())]),
        (",id=x a:1", [Section("", (("id", "x"),)), Section("a:1", ())]),
        ("* a#:1", [Section("*", ()), Section("a", ())]),
        ("* a:1 # two", [Section("*", ()), Section("a:1", ())]),
        ('*,h="a, b#c" d', [Section("*", (("h", "a, b#c"),)), Section("d", ())]),
        ('*,h=a"b c"d e', [Section("*", (("h", "ab cd"),)), Section("e", ())]),
        (r'*,h="a\"b\\c" d', [Section("*", (("h", 'a"b\\c'),)), Section("d", ())]),
        ("*,h=a=b c", [Section("*", (("h", "a=b"),)), Section("c", ())]),
        ("*\ta", [Section("*\ta", ())]),
        (r"*,h=a\b c", [Section("*", (("h", r"a\b"),)), Section("c", ())]),
    ],
)
def test_192_comments_quoting_and_escapes(line: str, sections: list[Section]) -> None:
    assert split_line(line) == sections


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('* "a', "unterminated quoted section"),
        ('* "a\\', "unterminated escape sequence"),
        (r'* "\n"', "unexpected escape character: n"),
        ("*, a:1", "expecting prop"),
        ("*,,debug a:1", "expecting prop"),
        ("*,=x a:1", "empty prop name"),
        ("*", "must specify condition and at least one target"),
        (",debug a:1", "condition has no domain or id"),
        ("localhost:80 a:1", "'localhost:80' is neither a host without port nor *"),
        ("*,proto=tcp a:1", "proto: must be http or ws, not 'tcp'"),
        ("*,ssl=maybe a:1", "ssl: must be yes or no, not 'maybe'"),
        ("*,path_beg= a:1", "path_beg: must not be empty"),
        ("*,header=X a:1", "header: must be Name:value, not 'X'"),
        ("*,header=:x a:1", "header: must be Name:value, not ':x'"),
        ("*,header=a/b:x a:1", "header: 'a/b' is not the name of a header"),
        ('*,"header=X:a\tb\x01" a:1', "header: the value has a control character"),
        ("*,path_rem=x a:1", "path_rem: must be a number from 0 to 4096, not 'x'"),
        ("*,as_host=a:x a:1", "as_host: port 'x' is not a number from 1 to 65535"),
        ("* localhost", "target 'localhost' has no port"),
        ("* localhost:0", "target port '0' is not a number from 1 to 65535"),
        ("* ::1:80", "target '::1:80': an IPv6 address is written [ADDR]:PORT"),
        ("*,jsonp_mode=x a:1", "jsonp_mode: must be extended or basic, not 'x'"),
        ("*,jsonp_defmethod=a/b a:1", "jsonp_defmethod: 'a/b' is not a method"),
        ("*,log_level=x a:1", "log_level: must be a number, from 0 (error) up, not 'x'"),
        ("* a:1,client_cert=c.pem", "client_cert and client_key belong together"),
        ("* unix:/s,untrusted", "untrusted: a Unix socket is on this machine"),
        (
            "* zhttp/ipc://x",
            "target 'zhttp/ipc://x': origins on ZeroMQ are not supported, only on HTTP",
        ),
        (
            "* zhttpreq/tcp://x:1",
            "target 'zhttpreq/tcp://x:1': origins on ZeroMQ are not supported, only on HTTP",
        ),
    ],
)
def test_192_a_malformed_line_is_reported_and_the_others_load(line: str, why: str) -> None:
    routes, (error,) = Routes.parse(f"# first\n{line}\r\nother.test a:1", "conf/routes")
    assert str(error) == f"conf/routes:2: {why}"
    assert not error.is_warning
    assert [route.host for route in routes] == ["other.test"]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (
            "*,session a:1",
            "option 'session' has no effect: sessions of old clients are not tracked",
        ),
        (
            "* a:1,ipc_file_mode=700",
            "option 'ipc_file_mode' has no effect: it belongs to zhttp targets",
        ),
        ("*,colour=red a:1", "unknown option 'colour' is ignored"),
        ("* a:1,aggregate", "option 'aggregate' is one of a condition, and ignored elsewhere"),
        ("*,over_http a:1", "option 'over_http' is one of a target, and ignored elsewhere"),
    ],
)
def test_what_does_not_work_is_said_and_the_line_counts(line: str, why: str) -> None:
    routes, (error,) = Routes.parse(line, "routes")
    assert (error.why, error.is_warning, len(routes)) == (why, True, 1)


def test_193_duplicate_condition_is_skipped() -> None:
    routes, (error,) = Routes.parse("* a:1\n*,id=x,debug b:1", "routes")
    assert str(error) == "routes:2: skipping duplicate condition"
    assert [str(route.targets[0]) for route in routes] == ["a:1"]


# -- options ---------------------------------------------------------------------------------------


def test_every_option_of_a_condition_is_read() -> None:
    line = (
        "API.example.com,id=v2,path_beg=/v2/,proto=ws,ssl=no,prefix=p-,debug,no_grip,sig_iss=me,"
        "sig_key=secret,as_host=b:8080,path_rem=3,replace_beg=/new/,header=X-A:1,header=X-B: a:1"
    )
    assert only(line) == Route(
        id="v2",
        has_id=True,
        host="api.example.com",
        targets=(Target(TcpAddress("a", 1)),),
        path_beg="/v2/",
        proto="ws",
        ssl=False,
        prefix="p-",
        debug=True,
        no_grip=True,
        sig_iss="me",
        sig_key="secret",
        as_host="b:8080",
        path_rem=3,
        replace_beg="/new/",
        header=((b"X-A", b"1"), (b"X-B", None)),
    )


def test_every_option_of_cross_origin_requests_is_read() -> None:
    route = only(
        "*,aco,jsonp_mode=basic,jsonp_cb=cb,jsonp_body=b,jsonp_defcb=f,jsonp_defmethod=PUT,"
        "orig_headers,log_level=1 a:1"
    )
    assert (route.aco, route.orig_headers, route.log_level) == (True, True, "warning")
    assert (route.jsonp_mode, route.jsonp_cb, route.jsonp_body) == ("basic", "cb", "b")
    assert (route.jsonp_defcb, route.jsonp_defmethod) == ("f", b"PUT")


@pytest.mark.parametrize(("number", "level"), [("0", "error"), ("2", "info"), ("9", "debug")])
def test_log_levels_are_counted_from_errors_up(number: str, level: str) -> None:
    assert only(f"*,log_level={number} a:1").log_level == level


def test_202_ipv6_literal_targets_and_all_target_options() -> None:
    route = only("* [::1]:80,ssl,insecure,host=a.test:81,over_http unix:/run/app.sock localhost:1")
    assert route.targets == (
        Target(TcpAddress("::1", 80), ssl=True, insecure=True, host="a.test:81", over_http=True),
        Target(UnixAddress("/run/app.sock")),
        Target(TcpAddress("localhost", 1)),
    )


def test_the_last_of_a_repeated_option_wins() -> None:
    assert only("*,prefix=a,prefix=b x:1").prefix == "b"


def test_a_flag_is_on_whatever_its_value() -> None:
    assert only("*,debug=false x:1").debug


def test_a_key_file_is_relative_to_the_routes_file() -> None:
    (route,), _ = Routes.parse("*,sig_key=file:k.pem a:1", "/etc/fanway/routes")
    assert route.sig_key == "file:/etc/fanway/k.pem"
    (route,), _ = Routes.parse("*,sig_key=file:/k.pem a:1", "/etc/fanway/routes")
    assert route.sig_key == "file:/k.pem"


def test_a_client_certificate_is_relative_to_the_routes_file_and_checked() -> None:
    seen: list[Target] = []
    line = "* a:1,ssl,client_cert=c.pem,client_key=/k.pem"
    routes, errors = Routes.parse(line, "/etc/fanway/routes", seen.append)
    assert [(t.client_cert, t.client_key) for t in seen] == [("/etc/fanway/c.pem", "/k.pem")]
    assert (len(routes), errors) == (1, [])

    def refuse(target: Target) -> None:
        raise ValueError("no use")

    routes, (error,) = Routes.parse(line, "routes", refuse)
    assert (len(routes), str(error)) == (0, "routes:1: no use")


def test_201_the_test_target_carries_websockets_over_http() -> None:
    (target,) = only("* test").targets
    assert (target.address, target.over_http) == (BuiltIn.TEST, True)


def test_a_route_without_id_gets_one_from_what_it_selects_by() -> None:
    assert only("a.test,debug,proto=ws,path_beg=/x b:1").id == "a.test,path_beg=/x,proto=ws"


# -- selection -------------------------------------------------------------------------------------


def test_190_exact_host_beats_any_host_even_where_no_exact_rule_matches() -> None:
    routes = read("*,id=any a:1", "b.test,id=exact,path_beg=/x a:1")
    assert chosen(routes, "c.test") == "any"
    assert chosen(routes, "b.test", "/xy") == "exact"
    assert chosen(routes, "b.test", "/y") == ""


def test_191_longest_path_beats_file_order() -> None:
    routes = read("*,id=a a:1", "*,id=abc,path_beg=/a/b a:1", "*,id=ab,path_beg=/a a:1")
    assert [chosen(routes, "h", path) for path in ("/", "/a/", "/a/bc")] == ["a", "ab", "abc"]


def test_191_proto_beats_path() -> None:
    routes = read("*,id=long,path_beg=/long a:1", "*,id=ws,proto=ws a:1")
    assert chosen(routes, "h", "/long", ws=True) == "ws"
    assert chosen(routes, "h", "/long") == "long"


@pytest.mark.parametrize("order", [1, -1])
def test_191_ssl_breaks_ties_only(order: int) -> None:
    lines = ["*,id=tls,ssl=yes a:1", "*,id=long,path_beg=/long a:1", "*,id=any a:1"]
    routes = read(*lines[::order])
    assert chosen(routes, "h", "/", tls=True) == "tls"
    assert chosen(routes, "h", "/", tls=False) == "any"
    assert chosen(routes, "h", "/long", tls=True) == "long"


def test_ssl_no_is_for_plain_clients_only() -> None:
    routes = read("*,id=plain,ssl=no a:1")
    assert chosen(routes, "h", tls=False) == "plain"
    assert chosen(routes, "h", tls=True) == ""


def test_199_an_id_decides_alone_but_the_path_must_fit() -> None:
    routes = read("*,id=any a:1", "id=only,path_beg=/x b:1", "h,id=hosted c:1")
    assert routes.match("h", "/xy", False, False, "only") is routes.by_id["only"][0]
    assert routes.match("h", "/y", False, False, "only") is None
    assert routes.match("h", "/", False, False, "unknown") is None
    assert chosen(routes, "elsewhere") == "any"
    found = routes.match("elsewhere", "/", False, False, "hosted")
    assert found is not None
    assert found.id == "hosted"


def test_199_an_id_that_rules_share_decides_nothing() -> None:
    routes = read("*,id=same a:1", "h,id=same b:1", "g,id=other c:1")
    found = routes.match("g", "/", False, False, "same")
    assert found is not None
    assert found.id == "other"


def test_199_a_made_up_id_chooses_nothing() -> None:
    routes = read("* a:1")
    assert routes.match("h", "/", False, False, "*") is None


def test_193_rules_without_host_are_duplicates_if_their_ids_are() -> None:
    read("id=a x:1", "id=b x:1")
    assert complaints("id=a x:1", "id=a y:1") == ["routes:2: skipping duplicate condition"]


def test_path_beg_is_a_prefix_of_the_raw_path() -> None:
    routes = read("*,id=enc,path_beg=/a%20b a:1", '*,id=utf,path_beg="/é" a:1')
    assert chosen(routes, "h", "/a%20bc") == "enc"
    assert chosen(routes, "h", "/a b") == ""
    assert chosen(routes, "h", "/é".encode().decode("latin-1")) == "utf"


def test_a_host_is_matched_as_it_is_said_on_the_wire() -> None:
    routes = read("Bücher.test,id=books a:1", "xn--bcher-kva.example,as_host=bücher.test:81 a:1")
    assert chosen(routes, "xn--bcher-kva.test") == "books"
    found = routes.match("xn--bcher-kva.example", "/", False, False)
    assert found is not None
    assert found.as_host == "xn--bcher-kva.test:81"
    assert complaints(f"{'ü' * 70}.test a:1") == [f"routes:1: '{'ü' * 70}.test' is not a host"]


def test_an_ipv6_host_is_matched_without_brackets() -> None:
    assert chosen(read("[::1],id=six a:1"), "::1") == "six"


@pytest.mark.parametrize(
    ("options", "path", "sent"),
    [
        ("", "/v2/x?a=/v2/", "/v2/x?a=/v2/"),
        (",path_rem=3", "/v2/x", "/x"),
        (",path_rem=4", "/v2/x", "/x"),
        (",path_rem=100", "/v2/x", "/"),
        (",path_beg=/v2/,replace_beg=/new/", "/v2/x?q", "/new/x?q"),
        (",path_beg=/v2/,replace_beg=", "/v2/x", "/x"),
        (",path_beg=/v2/,replace_beg=/n/,path_rem=4", "/v2/x", "/n/x"),
        (",replace_beg=/n", "/v2/x", "/n/v2/x"),
    ],
)
def test_194_replace_beg_and_path_rem_change_the_path(options: str, path: str, sent: str) -> None:
    assert only(f"*{options} a:1").origin_path(path) == sent


def test_routes_are_told_in_words() -> None:
    lines = [
        "* a:1 b:2",
        "x.test,path_beg=/y,proto=ws,ssl=yes [::1]:443,ssl,insecure,host=z unix:/s",
        "id=me test c:3,untrusted,sub=a,sub=b",
    ]
    assert [describe(route) for route in read(*lines)] == [
        "any host -> http://a:1, then http://b:2",
        "x.test, paths that begin with /y, WebSocket clients only, TLS only"
        " -> https://[::1]:443 (as z, certificate not verified), then http://unix:/s:",
        "by id me -> built-in test, then http://c:3 (not on private networks, subscribed to a, b)",
    ]


def test_nothing_in_the_file_is_no_error() -> None:
    assert complaints("", "# only words", "  ") == []
