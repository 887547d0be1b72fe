/* What the kernel knows of a client: its address, and a hard end for it. */
#ifndef FASTPATH_PEER_H
#define FASTPATH_PEER_H
#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>

/* The client's address as text into `out` (INET6_ADDRSTRLEN bytes); its length, 0 if it has none.
 * Asked of the kernel each time: a cached copy would cost every idle hold 128 bytes. */
static inline int peer_name(int fd, char *out)
{
    struct sockaddr_storage a;
    socklen_t size = sizeof a;
    const void *from = NULL;
    if (getpeername(fd, (struct sockaddr *) &a, &size) != 0)
        return 0;
    if (a.ss_family == AF_INET)
        from = &((struct sockaddr_in *) &a)->sin_addr;
    else if (a.ss_family == AF_INET6)
        from = &((struct sockaddr_in6 *) &a)->sin6_addr;
    if (from == NULL || inet_ntop(a.ss_family, from, out, INET6_ADDRSTRLEN) == NULL)
        return 0;
    return (int) strlen(out);
}

/* The next close() resets the connection: the only way to show the end of a body that is
 * delimited by close to be no end. */
static inline void reset_on_close(int fd)
{
    struct linger hard = {1, 0};
    (void) setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
}
#endif
