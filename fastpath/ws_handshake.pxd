# The opening handshake of RFC 6455 (section 4, floor 1): whether a request is one, whether it is a
# good one, and what answers it. It takes lists of fields and gives bytes; it decides nothing.

# Upgrade names websocket, in whatever spelling.
cdef bint asks_for_websocket(list headers) except -1
# The key of a good handshake: GET, HTTP/1.1, no body, Connection: upgrade, version 13, one key.
# None: it is not good.
cdef bytes handshake_key(bytes method, int minor, bint has_body, list headers)
# The lines of a 101 that are not the origin's.
cdef bytes switching_lines(bytes key, list extensions)
# The values of a field, in order.
cdef list values_of(bytes name, list headers)
