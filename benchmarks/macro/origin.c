/* The origin of the benchmarks: answers each request at once, from what its path says.
 *
 *   GET /sse      hold the client as an SSE stream on the channel "bench"
 *   GET /plain    a small response without instructions
 *
 * It keeps no state, so that it is never what a benchmark measures.
 */
#include "serve.h"

#define HOLD                                                                                       \
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nGrip-Hold: stream\r\n"                  \
    "Grip-Channel: bench\r\nContent-Length: 0\r\n\r\n"

static void gone(int fd) { (void)fd; }

static bool answer(int fd, const struct request *request) {
    if (!strncmp(request->head, "GET /sse ", 9)) return send_all(fd, HOLD, sizeof HOLD - 1);
    if (!strncmp(request->head, "GET /plain ", 11)) return send_all(fd, PLAIN, sizeof PLAIN - 1);
    return send_all(fd, MISSING, sizeof MISSING - 1);
}

int main(void) { return serve(); }
