/* UTF-8 as RFC 3629 defines it, across pieces, at the earliest byte that is wrong. Runs of ASCII
 * are taken sixteen bytes at a time. */
#ifndef FASTPATH_UTF8_H
#define FASTPATH_UTF8_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A state is what may come next: 0 between characters, 1 after a fault (and for ever), else the
 * number of continuation bytes to come (bits 16-23) and the range of the next one (low: bits 0-7,
 * high: bits 8-15). The first continuation byte has a narrower range after E0, ED, F0 and F4. */
#define UTF8_STATE(more, low, high) (((uint32_t) (more) << 16) | ((uint32_t) (high) << 8) | (low))

static inline uint32_t utf8_lead(uint8_t b)
{
    if (b < 0x80)
        return 0;
    if (b < 0xC2 || b > 0xF4)
        return 1;
    if (b < 0xE0)
        return UTF8_STATE(1, 0x80, 0xBF);
    if (b < 0xF0)
        return UTF8_STATE(2, b == 0xE0 ? 0xA0 : 0x80, b == 0xED ? 0x9F : 0xBF);
    return UTF8_STATE(3, b == 0xF0 ? 0x90 : 0x80, b == 0xF4 ? 0x8F : 0xBF);
}

static inline size_t utf8_skip_ascii(const uint8_t *at, size_t size)
{
    size_t i = 0;
    uint64_t words[2];
    for (; size - i >= 16; i += 16) {
        memcpy(words, at + i, 16);
        if ((words[0] | words[1]) & UINT64_C(0x8080808080808080))
            break;
    }
    return i;
}

static inline uint32_t utf8_scan(uint32_t state, const uint8_t *at, size_t size)
{
    size_t i = 0;
    while (i < size) {
        if (state == 0) {
            if (at[i] < 0x80)
                i += utf8_skip_ascii(at + i, size - i);
            if (i < size)
                state = utf8_lead(at[i++]);
        } else if (state == 1) {
            break;
        } else {
            uint8_t b = at[i++];
            uint32_t more = state >> 16;
            if (b < (state & 0xFF) || b > ((state >> 8) & 0xFF))
                return 1;
            state = more > 1 ? UTF8_STATE(more - 1, 0x80, 0xBF) : 0;
        }
    }
    return state;
}
#endif
