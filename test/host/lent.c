/* Structures lent to the plugin, between canaries. */
#include "host.h"

#include <stdlib.h>
#include <string.h>

#define GUARD 64
#define CANARY 0xCA
/* What malloc'ed memory holds before anybody wrote to it. */
#define GARBAGE 0xA5

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_bool broken;

void violation(const char *format, ...)
{
    va_list args;

    broken = true;
    va_start(args, format);
    fputs("test-host: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}

bool violated(void)
{
    return broken;
}

void *lent_address(const struct lent *lent)
{
    return lent->block + GUARD;
}

void *lend(struct lent *lent, const char *name, size_t size, bool zeroed)
{
    lent->name = name;
    lent->size = size;
    lent->block = malloc(size + 2 * GUARD);
    lent->expected = malloc(size);
    memset(lent->block, CANARY, size + 2 * GUARD);
    memset(lent_address(lent), zeroed ? 0 : GARBAGE, size);
    lent_commit(lent);
    return lent_address(lent);
}

void lent_commit(struct lent *lent)
{
    memcpy(lent->expected, lent_address(lent), lent->size);
}

void lent_check(struct lent *lent, const char *callback, size_t from, size_t to)
{
    unsigned char *structure = lent_address(lent);
    bool reported = false;

    pthread_mutex_lock(&lock);
    memcpy(lent->expected + from, structure + from, to - from);
    for (ptrdiff_t i = -GUARD; i < (ptrdiff_t) lent->size + GUARD; i++) {
        unsigned char want = i >= 0 && i < (ptrdiff_t) lent->size ? lent->expected[i] : CANARY;

        if (structure[i] != want && !reported) {
            violation("%s wrote to %s (%zu bytes) at offset %td", callback, lent->name, lent->size, i);
            reported = true;
        }
        structure[i] = want;
    }
    pthread_mutex_unlock(&lock);
}

void lent_free(struct lent *lent)
{
    free(lent->block);
    free(lent->expected);
}
