# Why a session ends (floor 0). Statuses, close codes and texts are in control/reasons.py, from
# where WELCOME carries them; tests/link/test_contract.py holds the two lists against each other.

cdef enum Reason:
    NONE = 0
    PEER_CLOSED = 1
    PEER_RESET = 2
    BAD_REQUEST = 10
    HEAD_TOO_BIG = 11
    BODY_TOO_BIG = 12
    HEAD_TIMEOUT = 13
    BAD_UPGRADE = 14
    BAD_FRAME = 20
    BAD_TEXT = 21
    MESSAGE_TOO_BIG = 22
    SLOW = 30
    IDLE = 31
    ORDERED = 40
    PUBLISHED_CLOSE = 41
    ORIGIN_FAILED = 50
    LINK_LOST = 51
    DRAINING = 60
    ORDER_REFUSED = 90
    INTERNAL = 91
