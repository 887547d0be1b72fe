/* The origin of the benchmarks: answers each request at once, from what its path says.
 *
 *   GET /sse      hold the client as an SSE stream on the channel "bench"
 *   POST /ws      accept a WebSocket, and subscribe it to the channel "bench"; /ws-deflate, too
 *   POST /echo    accept a WebSocket and send back what it says, by events (WebSocket-over-HTTP)
 *   GET /plain    a small response without instructions
 *
 * It keeps no state, so that it is never what a benchmark measures.
 */
#include "serve.h"

#define HOLD                                                                                       \
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nGrip-Hold: stream\r\n"                  \
    "Grip-Channel: bench\r\nContent-Length: 0\r\n\r\n"

#define EVENTS "HTTP/1.1 200 OK\r\nContent-Type: application/websocket-events\r\n"
#define SUBSCRIBE                                                                                  \
    EVENTS "Sec-WebSocket-Extensions: grip\r\nContent-Length: 57\r\n\r\n"                         \
           "OPEN\r\nTEXT 28\r\nc:{\"type\":\"subscribe\",\"channel\":\"bench\"}\r\n"

static void gone(int fd) { (void)fd; }

/* An OPEN accepts, and what was said is said back: the answer is the question. */
static bool echo(int fd, const struct request *request) {
    static char response[REQUEST_MAX_BYTES + 128];
    size_t count =
        (size_t)sprintf(response, EVENTS "Content-Length: %zu\r\n\r\n", request->body_bytes);
    memcpy(response + count, request->body, request->body_bytes);
    return send_all(fd, response, count + request->body_bytes);
}

static bool answer(int fd, const struct request *request) {
    if (!strncmp(request->head, "GET /sse ", 9)) return send_all(fd, HOLD, sizeof HOLD - 1);
    if (!strncmp(request->head, "POST /ws", 8)) return send_all(fd, SUBSCRIBE, sizeof SUBSCRIBE - 1);
    if (!strncmp(request->head, "POST /echo ", 11)) return echo(fd, request);
    if (!strncmp(request->head, "GET /plain ", 11)) return send_all(fd, PLAIN, sizeof PLAIN - 1);
    return send_all(fd, MISSING, sizeof MISSING - 1);
}

int main(void) { return serve(); }
