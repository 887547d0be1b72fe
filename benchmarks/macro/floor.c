/* The floor: what this kernel charges for the same bytes to the same sockets, and nothing else.
 *
 *   GET  /sse      hold the client as a chunked SSE stream
 *   GET  /ws       hold the client as a WebSocket
 *   GET  /plain    a small response
 *   POST /publish  send the body, as one chunk or frame, to every held client with send(2)
 *
 * There is one channel, one kind of client, no parsing beyond the path and no queue: a client whose socket buffer is
 * full is closed, and the load client counts it as lost.
 */
#include "serve.h"

#define HELD                                                                                       \
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
#define UPGRADED                                                                                   \
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"              \
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
#define DONE "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

static int *held;       /* owned: the descriptors of held clients, dense */
static int *place;      /* owned: by descriptor, its place in `held` plus one, or 0 */
static int held_count;
static bool websockets; /* what the held clients are */

static bool hold(int fd, bool websocket) {
    if (place[fd]) return false;
    held[held_count++] = fd;
    place[fd] = held_count;
    websockets = websocket;
    if (websocket) return send_all(fd, UPGRADED, sizeof UPGRADED - 1);
    return send_all(fd, HELD, sizeof HELD - 1);
}

static void gone(int fd) {
    if (!place[fd]) return;
    int last = held[--held_count];
    held[place[fd] - 1] = last;
    place[last] = place[fd];
    place[fd] = 0;
}

static size_t write_chunk(char *chunk, const struct request *request) {
    size_t count = (size_t)sprintf(chunk, "%zx\r\n", request->body_bytes);
    memcpy(chunk + count, request->body, request->body_bytes);
    count += request->body_bytes;
    memcpy(chunk + count, "\r\n", 2);
    return count + 2;
}

static size_t write_frame(char *frame, const struct request *request) {
    size_t length = request->body_bytes, count = 0;
    frame[count++] = (char)0x81;
    frame[count++] = (char)(length < 126 ? length : 126);
    if (length >= 126) {
        frame[count++] = (char)(length >> 8);
        frame[count++] = (char)length;
    }
    memcpy(frame + count, request->body, length);
    return count + length;
}

static bool publish(int fd, const struct request *request) {
    if (!send_all(fd, DONE, sizeof DONE - 1)) return false;
    static char chunk[REQUEST_MAX_BYTES + 16];
    size_t count = websockets ? write_frame(chunk, request) : write_chunk(chunk, request);
    /* From the end, so that a client which is closed is replaced by one that had its turn. */
    for (int i = held_count - 1; i >= 0; i--)
        if (!send_all(held[i], chunk, count)) drop(held[i]);
    return true;
}

static bool answer(int fd, const struct request *request) {
    if (!strncmp(request->head, "GET /sse ", 9)) return hold(fd, false);
    if (!strncmp(request->head, "GET /ws ", 8)) return hold(fd, true);
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
