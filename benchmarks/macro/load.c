/* The load client: many subscribers, one publisher, echoes and plain requests, on one epoll loop.
 *
 *   load TARGET_PORT PUBLISH_PORT PUBLISH_PATH BODY_HEAD BODY_TAIL
 *
 * It is told what to do line by line on standard input, answers each line with one line of JSON
 * and ends when its input does, so that whoever drives it can read the server's books in between:
 *
 *   subscribe PATH IN_FLIGHT COUNT SECONDS   open subscribers: WebSockets, or SSE for /sse;
 *                                            those of /ws-deflate offer compression
 *   publish COUNT BYTES PER_SECOND SECONDS   publish and account for every delivery; with 0 for
 *                                            PER_SECOND each when the one before is complete
 *   echo COUNT BYTES SECONDS                 round trips of all subscribers, which are WebSockets
 *   request COUNT CONNECTIONS SECONDS        GET /plain over connections that are kept
 *
 * SECONDS is the deadline of the line. A publish posts BODY_HEAD payload BODY_TAIL; a payload is
 * BYTES long (hold_wire.h) and delivered with its last byte. While it works the client does not
 * sleep in epoll_wait: a server pays for each sleeper that it wakes, and that is not its own cost.
 * It never reads the server's books and judges nothing.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "hold_wire.h"

#define EVENTS_MAX 512
#define READ_BYTES 65536
#define EXCHANGE_MAX_BYTES 32768 /* of a publish or a plain request, either way */
#define MESSAGES_MAX 1000000
#define SAMPLES_MAX 50000000     /* a line keeps eight bytes of latency for each delivery */
#define REQUESTERS_MAX 1024
#define SPARE_DESCRIPTORS 32
#define PER_SOURCE_MAX 20000     /* below the count of ephemeral ports of a source address */
#define CONNECT_SECONDS 5
#define PAUSE_NS 50000           /* after a look that found nothing */
#define TIMER_SLACK_NS 1000      /* so that a pause is not much longer than it says */

enum kind { SUBSCRIBER, REQUESTER };

struct subscriber {
    enum kind kind;
    int fd; /* -1: closed */
    struct hold hold;
    uint32_t newest; /* highest number received */
    uint64_t recent; /* bit n: newest - n was received */
    uint64_t since_ns; /* when what is to be echoed was sent; 0: nothing was */
};

struct requester {
    enum kind kind;
    int fd; /* -1: closed */
    bool waiting;
    uint64_t since_ns;
    size_t have;
    char response[EXCHANGE_MAX_BYTES + 1];
};

static struct subscriber *subscribers;
static int subscribers_max, opened_count;
static struct requester publisher = {.kind = REQUESTER, .fd = -1};
static struct requester requesters[REQUESTERS_MAX];
static int epoll_fd, target_port, publish_port;
static const char *publish_path, *body_head, *body_tail;

/* Counted from the start on. */
static struct { long up, failed, closed, garbled; } subscribed;

/* Counted for one line. */
static struct {
    uint32_t payload_bytes, number_first, number_next; /* what is being published */
    bool echoing;
    long delivered, doubled, disordered, answered, refused, received_bytes;
    uint64_t *sent_ns, *samples_ns; /* owned: by message; by delivery or answer */
    long sample_count, samples_max;
} line;

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t after(uint64_t start_ns, double seconds) {
    return start_ns + (uint64_t)(seconds * 1e9);
}

static void fail(const char *format, ...) {
    va_list values;
    va_start(values, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, values);
    fputs("\n", stderr);
    va_end(values);
    exit(1);
}

static void *zeroed(size_t count, size_t size) {
    void *memory = calloc(count ? count : 1, size);
    if (!memory) fail("no memory");
    return memory;
}

static void sample(uint64_t ns) {
    if (line.sample_count < line.samples_max) line.samples_ns[line.sample_count++] = ns;
}

/* ---- subscribers: bytes in, deliveries out */

static void lose(struct subscriber *s, long *why) {
    *(s->hold.step == HEAD ? &subscribed.failed : why) += 1;
    close(s->fd);
    s->fd = -1;
}

/* Account for an echo. False if it is none. */
static bool take_echo(struct subscriber *s, uint64_t now) {
    bool awaited = s->since_ns && s->hold.number == s->newest;
    if (!awaited) return false;
    sample(now - s->since_ns);
    s->since_ns = 0;
    line.answered++;
    return true;
}

/* Account for a payload. False if it was never published. */
static bool deliver(struct subscriber *s, uint64_t now) {
    if (line.echoing) return take_echo(s, now);
    /* Back to back, what a compressed frame holds can only be the newest. */
    uint32_t number = s->hold.deflated ? line.number_next - 1 : s->hold.number;
    if (!number || number >= line.number_next) return false;
    if (number > s->newest) {
        uint32_t ahead = number - s->newest;
        s->recent = (ahead < 64 ? s->recent << ahead : 0) | 1;
        s->newest = number;
    } else {
        uint32_t behind = s->newest - number;
        uint64_t bit = behind < 64 ? 1ull << behind : 0;
        if (!bit || s->recent & bit) {
            line.doubled++;
            return true;
        }
        s->recent |= bit;
        line.disordered++;
    }
    if (number < line.number_first) return true; /* of a line that is over */
    line.delivered++;
    sample(now - line.sent_ns[number - line.number_first]);
    return true;
}

static void read_subscriber(struct subscriber *s) {
    static char bytes[READ_BYTES];
    ssize_t got;
    do {
        got = recv(s->fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (got < 0 && errno == EAGAIN) return;
        if (got <= 0) return lose(s, &subscribed.closed);
        uint64_t now = now_ns();
        line.received_bytes += got;
        for (ssize_t i = 0; i < got; i++) {
            enum hold_taken taken = hold_take(&s->hold, bytes[i], line.payload_bytes);
            if (taken == HOLD_UP) subscribed.up++;
            if (taken == HOLD_BAD || (taken == HOLD_PAYLOAD && !deliver(s, now)))
                return lose(s, &subscribed.garbled);
        }
    } while (got == sizeof bytes);
}

/* ---- connections */

/* Connected, or -1. Blocks at most for CONNECT_SECONDS; locally it is the work of a moment. */
static int open_connection(int port, uint32_t source, void *owner) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    if (fd < 0) fail("socket: %s", strerror(errno));
    struct timeval deadline = {.tv_sec = CONNECT_SECONDS};
    struct linger reset = {.l_onoff = 1}; /* no TIME_WAIT for the next run to bear */
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(source)};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &deadline, sizeof deadline);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.ptr = owner};
    if (bind(fd, (struct sockaddr *)&from, sizeof from) ||
        connect(fd, (struct sockaddr *)&to, sizeof to) ||
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event)) {
        close(fd);
        return -1;
    }
    return fd;
}

static void open_subscriber(const char *path) {
    static const char upgrade[] =
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    static const char offer[] = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    char request[EXCHANGE_MAX_BYTES];
    struct subscriber *s = &subscribers[opened_count];
    uint32_t source = INADDR_LOOPBACK + 1 + (uint32_t)(opened_count / PER_SOURCE_MAX);
    s->hold.websocket = strcmp(path, "/sse");
    size_t length = (size_t)snprintf(
        request, sizeof request, "GET %s HTTP/1.1\r\nHost: bench\r\n%s%s\r\n", path,
        s->hold.websocket ? upgrade : "Accept: text/event-stream\r\n",
        strcmp(path, "/ws-deflate") ? "" : offer);
    opened_count++;
    s->fd = open_connection(target_port, source, s);
    if (s->fd < 0) subscribed.failed++;
    else if (send(s->fd, request, length, MSG_NOSIGNAL) < 0) lose(s, &subscribed.failed);
}

/* ---- requesters: one request at a time over a connection that is kept */

static void end_exchange(struct requester *r, bool answered) {
    r->waiting = false;
    r->have = 0;
    if (answered) line.answered++;
    else line.refused++;
}

static void close_requester(struct requester *r) {
    if (r->waiting) end_exchange(r, false);
    if (r->fd >= 0) close(r->fd);
    r->fd = -1;
}

static void ask(struct requester *r, int port, const char *request, size_t count) {
    r->waiting = true;
    r->since_ns = now_ns();
    if (r->fd < 0) r->fd = open_connection(port, INADDR_LOOPBACK, r);
    if (r->fd < 0 || send(r->fd, request, count, MSG_NOSIGNAL) != (ssize_t)count)
        close_requester(r);
}

static bool is_whole(const char *response, size_t count) {
    const char *end = strstr(response, "\r\n\r\n");
    if (!end) return false;
    const char *length = strcasestr(response, "\r\nContent-Length:");
    if (length && length < end)
        return count - (size_t)(end + 4 - response) >= strtoul(length + 17, NULL, 10);
    return !strcmp(response + count - 5, "0\r\n\r\n"); /* chunked */
}

static void read_requester(struct requester *r) {
    size_t room = EXCHANGE_MAX_BYTES - r->have;
    ssize_t got = recv(r->fd, r->response + r->have, room, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0 || (size_t)got == room) return close_requester(r);
    r->have += (size_t)got;
    r->response[r->have] = 0;
    if (!is_whole(r->response, r->have)) return;
    if (r != &publisher) sample(now_ns() - r->since_ns);
    bool closing = strcasestr(r->response, "\r\nConnection: close") != NULL;
    end_exchange(r, r->response[9] == '2');
    if (closing) close_requester(r);
}

/* ---- the loop and its lines */

static void look(void) {
    struct epoll_event events[EVENTS_MAX];
    int count = epoll_wait(epoll_fd, events, EVENTS_MAX, 0);
    for (int i = 0; i < count; i++) {
        enum kind *kind = events[i].data.ptr;
        if (*kind == SUBSCRIBER) read_subscriber((struct subscriber *)kind);
        else read_requester((struct requester *)kind);
    }
    struct timespec pause = {.tv_nsec = PAUSE_NS};
    if (!count && opened_count != 1) nanosleep(&pause, NULL); /* one subscriber measures latency */
}

static void begin_line(uint32_t messages, long samples_max) {
    if (samples_max > SAMPLES_MAX) fail("more than %d deliveries in a line", SAMPLES_MAX);
    free(line.sent_ns);
    free(line.samples_ns);
    uint32_t next = line.number_next;
    memset(&line, 0, sizeof line);
    line.number_first = line.number_next = next;
    line.sent_ns = zeroed(messages, sizeof *line.sent_ns);
    line.samples_ns = zeroed((size_t)samples_max, sizeof *line.samples_ns);
    line.samples_max = samples_max;
}

static int compare(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void end_line(uint64_t started_ns) {
    static const struct { const char *name; double part; } marks[] = {
        {"p50", .5}, {"p90", .9}, {"p99", .99}, {"p999", .999}, {"max", 1}};
    printf(",\"failed\":%ld,\"closed\":%ld,\"garbled\":%ld,\"seconds\":%.6f,\"latency_us\":{",
           subscribed.failed, subscribed.closed, subscribed.garbled, (now_ns() - started_ns) / 1e9);
    qsort(line.samples_ns, (size_t)line.sample_count, sizeof *line.samples_ns, compare);
    for (size_t i = 0; line.sample_count && i < sizeof marks / sizeof *marks; i++) {
        long at = (long)(marks[i].part * (double)(line.sample_count - 1));
        printf("%s\"%s\":%.1f", i ? "," : "", marks[i].name, (double)line.samples_ns[at] / 1e3);
    }
    printf("}}\n");
    fflush(stdout);
}

static void subscribe(const char *path, int in_flight, int count, double seconds) {
    uint64_t started_ns = now_ns(), deadline_ns = after(started_ns, seconds);
    int goal = opened_count + count;
    if (goal > subscribers_max) fail("%d subscribers, %d descriptors", goal, subscribers_max);
    begin_line(0, 0);
    while (subscribed.up + subscribed.failed < goal && now_ns() < deadline_ns) {
        while (opened_count < goal && opened_count - subscribed.up - subscribed.failed < in_flight)
            open_subscriber(path);
        look();
    }
    printf("{\"up\":%ld", subscribed.up);
    end_line(started_ns);
}

/* A payload of the line's length, and a NUL. */
static void write_payload(char *payload, uint32_t number) {
    uint32_t last = line.payload_bytes - 1;
    snprintf(payload, PAYLOAD_MIN_BYTES, "#%08u", number);
    for (uint32_t at = 9; at < last; at++) payload[at] = filler_at(at);
    payload[last] = '!';
    payload[last + 1] = 0;
}

static void post(void) {
    static char request[EXCHANGE_MAX_BYTES];
    char payload[PAYLOAD_MAX_BYTES + 1];
    write_payload(payload, line.number_next);
    int length = snprintf(
        request, sizeof request,
        "POST %s HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: %zu"
        "\r\n\r\n%s%s%s",
        publish_path, strlen(body_head) + line.payload_bytes + strlen(body_tail), body_head, payload,
        body_tail);
    if (length >= (int)sizeof request) fail("a publish of more than %d bytes", EXCHANGE_MAX_BYTES);
    line.sent_ns[line.number_next++ - line.number_first] = now_ns();
    ask(&publisher, publish_port, request, (size_t)length);
}

static void publish(int count, int bytes, double per_second, double seconds) {
    uint64_t started_ns = now_ns(), deadline_ns = after(started_ns, seconds), due_ns = started_ns;
    long up = subscribed.up - subscribed.closed - subscribed.garbled, sent = 0;
    if (bytes < PAYLOAD_MIN_BYTES || bytes > PAYLOAD_MAX_BYTES) fail("payload of %d bytes", bytes);
    if (line.number_next + (uint32_t)count > MESSAGES_MAX) fail("too many messages");
    begin_line((uint32_t)count, count * up);
    line.payload_bytes = (uint32_t)bytes;
    while (now_ns() < deadline_ns) {
        bool complete = line.delivered >= sent * up && !publisher.waiting;
        if (sent == count && complete) break;
        if (sent < count && (per_second ? now_ns() >= due_ns && !publisher.waiting : complete)) {
            post();
            sent++;
            if (per_second) due_ns = after(due_ns, 1 / per_second);
        }
        look();
    }
    printf("{\"published\":%ld,\"refused\":%ld,\"delivered\":%ld,\"lost\":%ld,\"doubled\":%ld,"
           "\"disordered\":%ld,\"received_bytes\":%ld", sent, line.refused, line.delivered,
           count * up - line.delivered, line.doubled, line.disordered, line.received_bytes);
    end_line(started_ns);
}

/* Send a masked text frame whose payload has the subscriber's next number. */
static void ask_echo(struct subscriber *s) {
    static const uint8_t key[4] = {0x37, 0xfa, 0x21, 0x3d};
    char payload[PAYLOAD_MAX_BYTES + 1];
    uint8_t frame[PAYLOAD_MAX_BYTES + 8] = {FRAME_TEXT};
    size_t head = line.payload_bytes < 126 ? 2 : 4;
    frame[1] = (uint8_t)(128 | (head == 2 ? line.payload_bytes : 126));
    if (head == 4) {
        frame[2] = (uint8_t)(line.payload_bytes >> 8);
        frame[3] = (uint8_t)line.payload_bytes;
    }
    memcpy(frame + head, key, sizeof key);
    write_payload(payload, ++s->newest);
    for (uint32_t i = 0; i < line.payload_bytes; i++)
        frame[head + sizeof key + i] = (uint8_t)payload[i] ^ key[i % sizeof key];
    size_t count = head + sizeof key + line.payload_bytes;
    s->since_ns = now_ns();
    if (send(s->fd, frame, count, MSG_NOSIGNAL) != (ssize_t)count) lose(s, &subscribed.closed);
}

static void echo(int count, int bytes, double seconds) {
    uint64_t started_ns = now_ns(), deadline_ns = after(started_ns, seconds);
    int sent = 0;
    if (bytes < PAYLOAD_MIN_BYTES || bytes > PAYLOAD_MAX_BYTES) fail("payload of %d bytes", bytes);
    begin_line(0, count);
    line.echoing = true;
    line.payload_bytes = (uint32_t)bytes;
    while (line.answered < count && now_ns() < deadline_ns) {
        for (int i = 0; i < opened_count && sent < count; i++)
            if (subscribers[i].fd >= 0 && !subscribers[i].since_ns) {
                ask_echo(&subscribers[i]);
                sent++;
            }
        look();
    }
    printf("{\"answered\":%ld,\"lost\":%ld", line.answered, count - line.answered);
    end_line(started_ns);
}

static void request(int count, int connections, double seconds) {
    static const char request[] = "GET /plain HTTP/1.1\r\nHost: bench\r\nAccept: */*\r\n\r\n";
    uint64_t started_ns = now_ns(), deadline_ns = after(started_ns, seconds);
    int sent = 0;
    if (connections > REQUESTERS_MAX) fail("more than %d connections", REQUESTERS_MAX);
    begin_line(0, count);
    while (line.answered + line.refused < count && now_ns() < deadline_ns) {
        for (int i = 0; i < connections && sent < count; i++)
            if (!requesters[i].waiting) {
                ask(&requesters[i], target_port, request, sizeof request - 1);
                sent++;
            }
        look();
    }
    printf("{\"answered\":%ld,\"refused\":%ld", line.answered, line.refused);
    end_line(started_ns);
}

int main(int argc, char **argv) {
    if (argc != 6) fail("usage: load TARGET_PORT PUBLISH_PORT PUBLISH_PATH BODY_HEAD BODY_TAIL");
    target_port = atoi(argv[1]);
    publish_port = atoi(argv[2]);
    publish_path = argv[3];
    body_head = argv[4];
    body_tail = argv[5];

    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit)) fail("getrlimit: %s", strerror(errno));
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit)) fail("setrlimit: %s", strerror(errno));
    subscribers_max = (int)limit.rlim_max - SPARE_DESCRIPTORS;
    subscribers = zeroed((size_t)subscribers_max, sizeof *subscribers);
    for (int i = 0; i < REQUESTERS_MAX; i++)
        requesters[i] = (struct requester){.kind = REQUESTER, .fd = -1};
    if ((epoll_fd = epoll_create1(EPOLL_CLOEXEC)) < 0) fail("epoll: %s", strerror(errno));
    prctl(PR_SET_TIMERSLACK, TIMER_SLACK_NS);
    line.number_next = 1;

    char text[128], path[64];
    int count, size;
    double per_second, seconds;
    while (fgets(text, sizeof text, stdin)) {
        if (sscanf(text, "subscribe %63s %d %d %lf", path, &size, &count, &seconds) == 4)
            subscribe(path, size, count, seconds);
        else if (sscanf(text, "publish %d %d %lf %lf", &count, &size, &per_second, &seconds) == 4)
            publish(count, size, per_second, seconds);
        else if (sscanf(text, "echo %d %d %lf", &count, &size, &seconds) == 3)
            echo(count, size, seconds);
        else if (sscanf(text, "request %d %d %lf", &count, &size, &seconds) == 3)
            request(count, size, seconds);
        else fail("not a line: %s", text);
    }
    return 0;
}
