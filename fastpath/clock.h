/* The machine's clock: monotonic, in milliseconds, without a call into Python. */
#ifndef FASTPATH_CLOCK_H
#define FASTPATH_CLOCK_H
#include <stdint.h>
#include <time.h>

static inline uint64_t monotonic_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t) t.tv_sec * 1000u + (uint64_t) t.tv_nsec / 1000000u;
}
#endif
