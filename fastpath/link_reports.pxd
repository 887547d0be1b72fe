# The reports of the link (floor 1), LINK.md: values in, one packet out. OPENED is made of a part
# that a held session keeps (its head) and a part that is new each time it asks. ValueError: a
# field that is too long.

from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t

cdef bytes write_hello(uint32_t pid, uint16_t worker, bint resumed)
cdef bytes opened_head(
    int kind, int minor, bint tls, bytes peer, bytes method, bytes target, list headers)
cdef bytes write_opened(
    uint64_t ref, bytes head, bint again, int64_t length, list lasts, bytes body, bint more)
cdef bytes write_received(uint64_t ref, int kind, object body, bint more)  # body: any buffer
cdef bytes write_granted(uint64_t ref, uint32_t count)
cdef bytes write_held(bytes channel, int modes)
cdef bytes write_freed(bytes channel, int modes, uint64_t orders)
cdef bytes write_signalled(uint64_t ref, int what)
cdef bytes write_closed(uint64_t ref, int reason, int code, bytes context)
# groups: [(mode, action, traits, [(channel, id)])]; contents: [(mode, content)]
cdef bytes write_met(
    uint32_t number, bytes channel, bytes item_id, bytes meta, list contents, list groups)
cdef bytes write_lapsed(uint64_t ref, int why, list lasts, bytes context)
cdef bytes write_json(int op, bytes json)
cdef bytes write_counted(bytes channel, uint32_t responses, uint32_t streams, uint32_t websockets)
cdef bytes write_delivered(bytes channel, bytes id, tuple sizes, list reached)
cdef bytes write_left(uint64_t ref)
cdef bytes write_bare(int op)              # SYNCED, PONG
