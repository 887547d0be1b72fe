/* What the far end of a hold receives: a response head, then chunks or WebSocket frames, and in
 * them numbered payloads.
 *
 * It reads byte by byte, so that it never matters how they arrive, and accepts nothing but what a
 * hold answers: status 200 and well-formed chunks without extensions, or status 101 and unmasked
 * text frames that are whole messages; and whole payloads. A payload is "#", eight digits of its
 * number, a filler and "!", of one length known beforehand; bytes between payloads are ignored. A
 * compressed frame is not inflated: it counts as one payload of number 0. It knows no socket, no
 * clock and no count.
 */
#ifndef HOLD_WIRE_H
#define HOLD_WIRE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define PAYLOAD_MIN_BYTES 10 /* "#", eight digits, "!" */
#define PAYLOAD_MAX_BYTES 16384
#define CHUNK_MAX_BYTES (1u << 24)

#define FRAME_TEXT 0x81 /* FIN, opcode 1 */
#define FRAME_DEFLATED 0xC1 /* and RSV1 */

enum hold_step { HEAD, SIZE, SIZE_LF, CONTENT, CONTENT_CR, CONTENT_LF, FRAME, LENGTH, EXTENDED };
enum hold_taken { HOLD_MORE, HOLD_BAD, HOLD_UP, HOLD_PAYLOAD };

struct hold {
    enum hold_step step;
    bool websocket, deflated; /* frames, not chunks; the frame that is being read is compressed */
    uint8_t extended_left;    /* bytes of a frame's length that are to come */
    uint32_t head_bytes;  /* of the response head, so far */
    uint32_t blank_bytes; /* of CR LF CR LF, so far */
    uint32_t chunk_left;  /* or of the frame */
    uint32_t payload_bytes; /* so far; 0 between two payloads */
    uint32_t number;        /* of the payload that is being read, or has just been */
};

/* The byte of a payload's filler at a place: JSON text, of which compression makes what it makes of
 * real feeds. ' stands for ", which would have to be escaped in a publish. */
static inline char filler_at(uint32_t at) {
    static char text[PAYLOAD_MAX_BYTES];
    static uint32_t have;
    for (uint32_t seed = 12345; have < PAYLOAD_MAX_BYTES;) {
        char record[128];
        uint32_t dice[4];
        for (int i = 0; i < 4; i++) dice[i] = (seed = seed * 1664525 + 1013904223) >> 8;
        int length = snprintf(
            record, sizeof record, "{'id': %u, 'name': '%c%c%c', 'price': %u.%02u, 'up': %s}, ",
            dice[0] % 1000000, 'A' + dice[1] % 26, 'A' + dice[1] / 26 % 26, 'A' + dice[2] % 26,
            dice[3] % 1000, dice[2] / 26 % 100, dice[3] & 4096 ? "true" : "false");
        for (int i = 0; i < length && have < PAYLOAD_MAX_BYTES; i++) text[have++] = record[i];
    }
    return text[at];
}

static inline enum hold_taken hold_move(struct hold *h, enum hold_step next, bool legal) {
    h->step = next;
    return legal ? HOLD_MORE : HOLD_BAD;
}

static inline enum hold_taken hold_take_head(struct hold *h, char byte) {
    uint32_t at = h->head_bytes++;
    if (at >= 9 && at < 12 && byte != (h->websocket ? "101" : "200")[at - 9]) return HOLD_BAD;
    h->blank_bytes = byte == "\r\n\r\n"[h->blank_bytes] ? h->blank_bytes + 1 : byte == '\r';
    if (h->blank_bytes < 4) return HOLD_MORE;
    h->step = h->websocket ? FRAME : SIZE;
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
    if (at + 1 < length) return byte == filler_at(at) ? HOLD_MORE : HOLD_BAD;
    h->payload_bytes = 0;
    return byte == '!' ? HOLD_PAYLOAD : HOLD_BAD;
}

/* What the content of a chunk or frame is followed by. */
static inline enum hold_taken hold_end(struct hold *h, enum hold_taken taken) {
    h->step = h->websocket ? FRAME : CONTENT_CR;
    if (!h->deflated) return taken;
    h->number = 0;
    return HOLD_PAYLOAD;
}

/* Take a byte of a frame's head. */
static inline enum hold_taken hold_take_frame(struct hold *h, uint8_t byte) {
    switch (h->step) {
    case FRAME:
        h->deflated = byte == FRAME_DEFLATED;
        return hold_move(h, LENGTH, byte == FRAME_TEXT || h->deflated);
    case LENGTH:
        h->extended_left = byte == 127 ? 8 : byte == 126 ? 2 : 0;
        h->chunk_left = h->extended_left ? 0 : byte;
        return hold_move(h, h->extended_left ? EXTENDED : CONTENT, byte && byte < 128);
    default:
        h->chunk_left = h->chunk_left << 8 | byte;
        h->step = --h->extended_left ? EXTENDED : CONTENT;
        return h->chunk_left <= CHUNK_MAX_BYTES ? HOLD_MORE : HOLD_BAD;
    }
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
    case CONTENT: {
        enum hold_taken taken = h->deflated ? HOLD_MORE : hold_take_content(h, byte, length);
        return --h->chunk_left ? taken : hold_end(h, taken);
    }
    case CONTENT_CR:
        return hold_move(h, CONTENT_LF, byte == '\r');
    case CONTENT_LF:
        return hold_move(h, SIZE, byte == '\n');
    case FRAME:
    case LENGTH:
    case EXTENDED:
        return hold_take_frame(h, (uint8_t)byte);
    }
    return HOLD_BAD;
}

#endif
