/*
 * Events as they have to be: [[time, {}], {body}] in msgpack
 * (https://github.com/msgpack/msgpack/blob/master/spec.md). Fluent Bit itself
 * says nothing about bad ones: its decoder stops there, and the rest of the chunk
 * is lost (v5.1.1 src/flb_log_event_decoder.c:247).
 */
#include "host.h"

#include <string.h>

/* Deeper than any record: the record is level 1, and level 65 is text. */
#define MAX_DEPTH 100

struct reader {
    const unsigned char *at, *end;
    const char *why; /* set on the first fault */
};

static bool fault(struct reader *r, const char *why)
{
    r->why = why;
    return false;
}

static bool take(struct reader *r, size_t n, const unsigned char **bytes)
{
    if ((size_t) (r->end - r->at) < n) {
        return fault(r, "cut short");
    }
    *bytes = r->at;
    r->at += n;
    return true;
}

/* Big-endian number of n bytes. */
static bool number(struct reader *r, size_t n, uint64_t *value)
{
    const unsigned char *bytes;

    if (!take(r, n, &bytes)) {
        return false;
    }
    *value = 0;
    while (n-- > 0) {
        *value = *value << 8 | *bytes++;
    }
    return true;
}

/* Unicode 15.0, table 3-7: no surrogates, nothing overlong, nothing past U+10FFFF. */
static bool utf8(const unsigned char *s, const unsigned char *end)
{
    while (s < end) {
        unsigned char c = *s++;
        unsigned char low = 0x80, high = 0xBF;
        int more;

        if (c < 0x80) {
            continue;
        }
        if (c >= 0xC2 && c <= 0xDF) {
            more = 1;
        } else if (c >= 0xE0 && c <= 0xEF) {
            more = 2;
            low = c == 0xE0 ? 0xA0 : low;
            high = c == 0xED ? 0x9F : high;
        } else if (c >= 0xF0 && c <= 0xF4) {
            more = 3;
            low = c == 0xF0 ? 0x90 : low;
            high = c == 0xF4 ? 0x8F : high;
        } else {
            return false;
        }
        for (; more > 0; more--) {
            if (s == end || *s < low || *s > high) {
                return false;
            }
            s++;
            low = 0x80;
            high = 0xBF;
        }
    }
    return true;
}

static bool text(struct reader *r, uint64_t size)
{
    const unsigned char *bytes;

    if (!take(r, size, &bytes)) {
        return false;
    }
    return utf8(bytes, bytes + size) || fault(r, "string is not UTF-8");
}

static bool string(struct reader *r)
{
    const unsigned char *type;
    uint64_t size;

    if (!take(r, 1, &type)) {
        return false;
    }
    if (*type >= 0xA0 && *type <= 0xBF) {
        return text(r, *type & 0x1F);
    }
    if (*type >= 0xD9 && *type <= 0xDB) {
        return number(r, (size_t) 1 << (*type - 0xD9), &size) && text(r, size);
    }
    return fault(r, "key is not a string");
}

static bool value(struct reader *r, int depth);

static bool map(struct reader *r, uint64_t pairs, int depth)
{
    while (pairs-- > 0) {
        if (!string(r) || !value(r, depth + 1)) {
            return false;
        }
    }
    return true;
}

static bool array(struct reader *r, uint64_t elements, int depth)
{
    while (elements-- > 0) {
        if (!value(r, depth + 1)) {
            return false;
        }
    }
    return true;
}

static bool value(struct reader *r, int depth)
{
    const unsigned char *type;
    uint64_t n;

    if (depth > MAX_DEPTH) {
        return fault(r, "too deep");
    }
    if (!take(r, 1, &type)) {
        return false;
    }
    switch (*type) {
    case 0xC0: case 0xC2: case 0xC3: /* nil, false, true */
        return true;
    case 0xCA: /* float 32 */
        return take(r, 4, &type);
    case 0xCB: /* float 64 */
        return take(r, 8, &type);
    case 0xCC: case 0xCD: case 0xCE: case 0xCF: /* uint 8 to 64 */
        return take(r, (size_t) 1 << (*type - 0xCC), &type);
    case 0xD0: case 0xD1: case 0xD2: case 0xD3: /* int 8 to 64 */
        return take(r, (size_t) 1 << (*type - 0xD0), &type);
    case 0xD9: case 0xDA: case 0xDB: /* str 8 to 32 */
        r->at--;
        return string(r);
    case 0xDC: case 0xDD: /* array 16, 32 */
        return number(r, (size_t) 2 << (*type - 0xDC), &n) && array(r, n, depth);
    case 0xDE: case 0xDF: /* map 16, 32 */
        return number(r, (size_t) 2 << (*type - 0xDE), &n) && map(r, n, depth);
    }
    if (*type <= 0x7F || *type >= 0xE0) { /* fixint */
        return true;
    }
    if (*type <= 0x8F) {
        return map(r, *type & 0x0F, depth);
    }
    if (*type <= 0x9F) {
        return array(r, *type & 0x0F, depth);
    }
    if (*type <= 0xBF) {
        return text(r, *type & 0x1F);
    }
    return fault(r, "bin, ext or reserved type in the body");
}

static bool header(struct reader *r)
{
    static const unsigned char start[] = {
        0x92,       /* root: array of 2 */
        0x92,       /* header: array of 2 */
        0xD7, 0x00, /* time: fixext 8, type 0 */
    };
    const unsigned char *bytes;
    uint64_t seconds, nanoseconds;

    if (!take(r, sizeof(start), &bytes)) {
        return false;
    }
    if (memcmp(bytes, start, sizeof(start)) != 0) {
        return fault(r, "does not begin with [[time");
    }
    if (!number(r, 4, &seconds) || !number(r, 4, &nanoseconds) || !take(r, 1, &bytes)) {
        return false;
    }
    /* From 2^31 on hosts v3.2 to v4.2 take it for a group marker. */
    if (seconds > INT32_MAX || nanoseconds >= 1000000000) {
        return fault(r, "time out of range");
    }
    return *bytes == 0x80 || fault(r, "metadata is not an empty map");
}

size_t event_check(const unsigned char *data, size_t size, const char **why)
{
    struct reader r = {data, data + size, NULL};

    if (header(&r)) {
        if (r.at == r.end) {
            fault(&r, "cut short");
        } else if ((*r.at & 0xF0) != 0x80 && *r.at != 0xDE && *r.at != 0xDF) {
            fault(&r, "body is not a map");
        } else {
            value(&r, 1);
        }
    }
    *why = r.why;
    return r.why == NULL ? (size_t) (r.at - data) : 0;
}
