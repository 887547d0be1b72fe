/* A bare epoll HTTP/1.1 server for the floor and the origin: one thread, one scratch buffer.
 *
 * It finds whole requests (a head, and a body by Content-Length) and gives each to `answer`, which
 * the including file defines; `gone` hears that a connection is closed. A resting connection costs
 * what `struct conn` holds. It knows no path and no policy, and ends when its standard input does,
 * so that it never outlives the run that started it.
 */
#ifndef SERVE_H
#define SERVE_H

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define REQUEST_MAX_BYTES 65536 /* a longer request closes its connection */
#define EVENTS_MAX 256          /* taken from the kernel at a time */
#define BACKLOG_MAX 4096        /* more than a load client has in flight */

/* Answers that the floor and the origin share. */
#define PLAIN                                                                                      \
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 12\r\n\r\nhello world\n"
#define MISSING "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"

struct request {
    const char *head; /* borrowed, ends with a NUL after the body */
    const char *body; /* borrowed */
    size_t body_bytes;
};

struct conn {
    char *kept; /* owned: the beginning of a request that is not whole yet, or NULL */
    size_t kept_bytes;
};

static bool answer(int fd, const struct request *request); /* false: close the connection */
static void gone(int fd);

static struct conn *conns; /* by descriptor */
static int epoll_fd;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

/* The descriptors this process may have, after asking for as many as it is allowed. */
static size_t raise_descriptor_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit)) fail("getrlimit");
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit)) fail("setrlimit");
    return limit.rlim_max;
}

static void watch(int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event)) fail("epoll_ctl");
}

static void drop(int fd) {
    gone(fd);
    free(conns[fd].kept);
    conns[fd] = (struct conn){0};
    close(fd);
}

/* Send all of it at once; false if the socket does not take it. */
static bool send_all(int fd, const char *bytes, size_t count) {
    return send(fd, bytes, count, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)count;
}

/* The length of the first request in `bytes` (which end with a NUL), or 0 if it is not whole. */
static size_t find_request(const char *bytes, size_t count, struct request *request) {
    const char *end = memmem(bytes, count, "\r\n\r\n", 4);
    if (!end) return 0;
    request->head = bytes;
    request->body = end + 4;
    const char *length = strcasestr(bytes, "\r\nContent-Length:");
    request->body_bytes = length && length < end ? strtoul(length + 17, NULL, 10) : 0;
    size_t head_bytes = (size_t)(request->body - bytes);
    return count - head_bytes >= request->body_bytes ? head_bytes + request->body_bytes : 0;
}

static void read_requests(int fd) {
    static char scratch[REQUEST_MAX_BYTES + 1];
    struct conn *conn = &conns[fd];
    size_t have = conn->kept_bytes;
    if (have) memcpy(scratch, conn->kept, have);
    free(conn->kept);
    *conn = (struct conn){0};

    ssize_t got = recv(fd, scratch + have, REQUEST_MAX_BYTES - have, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) got = 0;
    else if (got <= 0) return drop(fd);
    have += (size_t)got;
    scratch[have] = 0;

    const char *at = scratch;
    struct request request;
    for (size_t length; have && (length = find_request(at, have, &request)); have -= length) {
        if (!answer(fd, &request)) return drop(fd);
        at += length;
    }
    if (have == REQUEST_MAX_BYTES) return drop(fd);
    if (have) {
        if (!(conn->kept = malloc(have))) fail("malloc");
        memcpy(conn->kept, at, have);
        conn->kept_bytes = have;
    }
}

static void accept_all(int listener, size_t descriptors_max) {
    int on = 1;
    for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
        if ((size_t)fd >= descriptors_max) {
            close(fd);
            continue;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        watch(fd);
    }
}

/* Serve on a port of the kernel's choice, printed as one line, until standard input ends. */
static int serve(void) {
    size_t descriptors_max = raise_descriptor_limit();
    if (!(conns = calloc(descriptors_max, sizeof *conns))) fail("calloc");
    if ((epoll_fd = epoll_create1(EPOLL_CLOEXEC)) < 0) fail("epoll_create1");

    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    if (bind(listener, (struct sockaddr *)&address, sizeof address)) fail("bind");
    if (listen(listener, BACKLOG_MAX)) fail("listen");
    if (getsockname(listener, (struct sockaddr *)&address, &length)) fail("getsockname");
    watch(listener);
    watch(STDIN_FILENO);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);

    for (;;) {
        struct epoll_event events[EVENTS_MAX];
        int count = epoll_wait(epoll_fd, events, EVENTS_MAX, -1);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == STDIN_FILENO) return 0;
            if (fd == listener) accept_all(listener, descriptors_max);
            else read_requests(fd);
        }
    }
}

#endif
