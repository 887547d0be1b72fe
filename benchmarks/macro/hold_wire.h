/* What the far end of a hold receives: a response head, chunks, and in them numbered payloads.
 *
 * It reads byte by byte, so that it never matters how they arrive, and accepts nothing but what a
 * hold answers: status 200, well-formed chunks without extensions, whole payloads. A payload is
 * "#", eight digits of its number, "." as filler and "!", of one length known beforehand; bytes
 * between payloads are ignored. It knows no socket, no clock and no count.
 */
#ifndef HOLD_WIRE_H
#define HOLD_WIRE_H

#include <stdbool.h>
#include <stdint.h>

#define PAYLOAD_MIN_BYTES 10 /* "#", eight digits, "!" */
#define PAYLOAD_MAX_BYTES 16384
#define CHUNK_MAX_BYTES (1u << 24)

enum hold_step { HEAD, SIZE, SIZE_LF, CONTENT, CONTENT_CR, CONTENT_LF };
enum hold_taken { HOLD_MORE, HOLD_BAD, HOLD_UP, HOLD_PAYLOAD };

struct hold {
    enum hold_step step;
    uint32_t head_bytes;  /* of the response head, so far */
    uint32_t blank_bytes; /* of CR LF CR LF, so far */
    uint32_t chunk_left;
    uint32_t payload_bytes; /* so far; 0 between two payloads */
    uint32_t number;        /* of the payload that is being read, or has just been */
};

static inline enum hold_taken hold_move(struct hold *h, enum hold_step next, bool legal) {
    h->step = next;
    return legal ? HOLD_MORE : HOLD_BAD;
}

static inline enum hold_taken hold_take_head(struct hold *h, char byte) {
    uint32_t at = h->head_bytes++;
    if (at >= 9 && at < 12 && byte != "200"[at - 9]) return HOLD_BAD;
    h->blank_bytes = byte == "\r\n\r\n"[h->blank_bytes] ? h->blank_bytes + 1 : byte == '\r';
    if (h->blank_bytes < 4) return HOLD_MORE;
    h->step = SIZE;
    return HOLD_UP;
}

static inline enum hold_taken hold_take_size(struct hold *h, char byte) {
    if (byte == '\r') return hold_move(h, SIZE_LF, true);
    uint32_t digit = 16;
    if (byte >= '0' && byte <= '9') digit = (uint32_t)(byte - '0');
    else if ((byte | 32) >= 'a' && (byte | 32) <= 'f') digit = (uint32_t)((byte | 32) - 'a') + 10;
    h->chunk_left = h->chunk_left * 16 + digit;
    return hold_move(h, SIZE, digit < 16 && h->chunk_left <= CHUNK_MAX_BYTES);
}

static inline enum hold_taken hold_take_content(struct hold *h, char byte, uint32_t length) {
    if (!h->payload_bytes && byte != '#') return HOLD_MORE;
    uint32_t at = h->payload_bytes++;
    if (at == 0) {
        h->number = 0;
        return HOLD_MORE;
    }
    if (at <= 8) {
        h->number = h->number * 10 + (uint32_t)(byte - '0');
        return byte >= '0' && byte <= '9' ? HOLD_MORE : HOLD_BAD;
    }
    if (at + 1 < length) return byte == '.' ? HOLD_MORE : HOLD_BAD;
    h->payload_bytes = 0;
    return byte == '!' ? HOLD_PAYLOAD : HOLD_BAD;
}

/* Take one byte; payloads are `length` bytes long. */
static inline enum hold_taken hold_take(struct hold *h, char byte, uint32_t length) {
    switch (h->step) {
    case HEAD:
        return hold_take_head(h, byte);
    case SIZE:
        return hold_take_size(h, byte);
    case SIZE_LF: /* a last chunk would end the hold, which nothing here asks for */
        return hold_move(h, CONTENT, byte == '\n' && h->chunk_left);
    case CONTENT:
        if (!--h->chunk_left) h->step = CONTENT_CR;
        return hold_take_content(h, byte, length);
    case CONTENT_CR:
        return hold_move(h, CONTENT_LF, byte == '\r');
    case CONTENT_LF:
        return hold_move(h, SIZE, byte == '\n');
    }
    return HOLD_BAD;
}

#endif
