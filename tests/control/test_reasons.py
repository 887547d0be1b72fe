from http import HTTPStatus

from control import reasons
from control.reasons import Reason, Refusal, worker_table


def refusals() -> list[Refusal]:
    return [value for value in vars(reasons).values() if isinstance(value, Refusal)]


def test_every_text_for_a_client_is_one_line() -> None:
    texts = [reason.text for reason in Reason if reason.status]
    texts += [refusal.text for refusal in refusals()]
    assert [text for text in texts if text.count("\n") != 1 or not text.endswith("\n")] == []


def test_every_status_is_an_error_that_has_a_phrase() -> None:
    statuses = [reason.status for reason in Reason if reason.status]
    statuses += [refusal.status for refusal in refusals()]
    assert all(400 <= HTTPStatus(status) < 600 for status in statuses)


def test_the_worker_gets_status_phrase_and_text_of_every_reason() -> None:
    table = worker_table(head_bytes_max=8192)
    assert table["11"] == (
        431,
        "Request Header Fields Too Large",
        "Request header size exceeded limit of 8192 bytes.\n",
        0,
    )
    assert table["1"] == (0, "", "the client closed the connection", 0)
    assert table["21"] == (0, "", "text is not UTF-8", 1007)
    assert [int(code) for code in table] == list(Reason)


def test_a_refusal_is_filled_in() -> None:
    refusal = reasons.BAD_INSTRUCT(why="Grip-Keep-Alive cannot be empty")
    assert refusal.text == (
        "Failed to parse accept instructions: Grip-Keep-Alive cannot be empty\n"
    )
    assert (refusal.status, refusal.phrase) == (502, "Bad Gateway")
