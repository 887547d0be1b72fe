/* XOR with a mask of four bytes, as RFC 6455 5.3 has it. Explicit vectors: at -O2 the compiler
 * makes none of its own here. */
#ifndef FASTPATH_MASK_H
#define FASTPATH_MASK_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef uint32_t mask_lanes __attribute__((vector_size(16)));

/* Applies `mask` (its first byte first in memory); gives it turned to the byte after the last. */
static inline uint32_t mask_run(uint8_t *at, size_t size, uint32_t mask)
{
    const mask_lanes wide = {mask, mask, mask, mask};
    uint8_t turned[8];
    size_t i = 0;
    for (; size - i >= 64; i += 64) {
        mask_lanes lanes[4];
        memcpy(lanes, at + i, 64);
        lanes[0] ^= wide;
        lanes[1] ^= wide;
        lanes[2] ^= wide;
        lanes[3] ^= wide;
        memcpy(at + i, lanes, 64);
    }
    for (; size - i >= 4; i += 4) {
        uint32_t word;
        memcpy(&word, at + i, 4);
        word ^= mask;
        memcpy(at + i, &word, 4);
    }
    memcpy(turned, &mask, 4);
    memcpy(turned + 4, &mask, 4);
    for (size_t rest = 0; i + rest < size; rest++)
        at[i + rest] ^= turned[rest];
    memcpy(&mask, turned + (size & 3), 4);
    return mask;
}
#endif
