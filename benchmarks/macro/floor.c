/* The floor: what this kernel charges for the same bytes to the same sockets, and nothing else.
 *
 *   GET  /sse      hold the client as a chunked SSE stream
 *   GET  /plain    a small response
 *   POST /publish  send the body, as one chunk, to every held client with send(2)
 *
 * There is one channel, no parsing beyond the path and no queue: a client whose socket buffer is
 * full is closed, and the load client counts it as lost.
 */
#include "serve.h"

#define HELD                                                                                       \
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
#define DONE "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

static int *held;       /* owned: the descriptors of held clients, dense */
static int *place;      /* owned: by descriptor, its place in `held` plus one, or 0 */
static int held_count;

static bool hold(int fd) {
    if (place[fd]) return false;
    held[held_count++] = fd;
    place[fd] = held_count;
    return send_all(fd, HELD, sizeof HELD - 1);
}

static void gone(int fd) {
    if (!place[fd]) return;
    int last = held[--held_count];
    held[place[fd] - 1] = last;
    place[last] = place[fd];
    place[fd] = 0;
}

static bool publish(int fd, const struct request *request) {
    if (!send_all(fd, DONE, sizeof DONE - 1)) return false;
    static char chunk[REQUEST_MAX_BYTES + 16];
    size_t count = (size_t)sprintf(chunk, "%zx\r\n", request->body_bytes);
    memcpy(chunk + count, request->body, request->body_bytes);
    count += request->body_bytes;
    memcpy(chunk + count, "\r\n", 2);
    count += 2;
    /* From the end, so that a client which is closed is replaced by one that had its turn. */
    for (int i = held_count - 1; i >= 0; i--)
        if (!send_all(held[i], chunk, count)) drop(held[i]);
    return true;
}

static bool answer(int fd, const struct request *request) {
    if (!strncmp(request->head, "GET /sse ", 9)) return hold(fd);
    if (!strncmp(request->head, "GET /plain ", 11)) return send_all(fd, PLAIN, sizeof PLAIN - 1);
    if (!strncmp(request->head, "POST /publish ", 14)) return publish(fd, request);
    return send_all(fd, MISSING, sizeof MISSING - 1);
}

int main(void) {
    size_t descriptors_max = raise_descriptor_limit();
    held = calloc(descriptors_max, sizeof *held);
    place = calloc(descriptors_max, sizeof *place);
    if (!held || !place) fail("calloc");
    return serve();
}
