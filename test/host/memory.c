/*
 * The C heap of the process, with a record of the blocks that the plugin
 * allocated: the functions below stand before those of the C library (glibc
 * allows that) and tell the plugin by the address they return to.
 */
#include "host.h"

#include <stdlib.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void __libc_free(void *);

#define SLOTS (1u << 17) /* more blocks than that are not watched */

struct block {
    void *address; /* NULL: free slot */
    size_t size;
    bool handed_over;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct block blocks[SLOTS]; /* open addressing */
static size_t used;
static _Atomic uintptr_t watch_from, watch_to;

void memory_watch(uintptr_t from, uintptr_t to)
{
    watch_from = from;
    watch_to = to;
}

static bool watched(void *caller)
{
    return (uintptr_t) caller >= watch_from && (uintptr_t) caller < watch_to;
}

static size_t slot_of(const void *address)
{
    return (size_t) (((uintptr_t) address >> 4) * 0x9E3779B97F4A7C15u >> 47) & (SLOTS - 1);
}

static struct block *find(const void *address)
{
    size_t i = slot_of(address);

    while (blocks[i].address != NULL && blocks[i].address != address) {
        i = (i + 1) & (SLOTS - 1);
    }
    return &blocks[i];
}

static void add(void *address, size_t size)
{
    pthread_mutex_lock(&lock);
    if (address != NULL && used < SLOTS / 2) {
        *find(address) = (struct block) {address, size, false};
        used++;
    }
    pthread_mutex_unlock(&lock);
}

static void forget(void *address)
{
    struct block *hole;

    pthread_mutex_lock(&lock);
    hole = find(address);
    if (address != NULL && hole->address != NULL) {
        hole->address = NULL;
        used--;
        /* Blocks that stand behind for want of a free slot move up. */
        for (size_t i = (hole - blocks + 1) & (SLOTS - 1); blocks[i].address != NULL; i = (i + 1) & (SLOTS - 1)) {
            struct block moved = blocks[i];

            blocks[i].address = NULL;
            *find(moved.address) = moved;
        }
    }
    pthread_mutex_unlock(&lock);
}

void *malloc(size_t size)
{
    void *address = __libc_malloc(size);

    if (watched(__builtin_return_address(0))) {
        add(address, size);
    }
    return address;
}

void *calloc(size_t count, size_t size)
{
    void *address = __libc_calloc(count, size);

    if (watched(__builtin_return_address(0))) {
        add(address, count * size);
    }
    return address;
}

void *realloc(void *old, size_t size)
{
    void *address;

    forget(old);
    address = __libc_realloc(old, size);
    if (watched(__builtin_return_address(0))) {
        add(address, size);
    }
    return address;
}

void free(void *address)
{
    forget(address);
    __libc_free(address);
}

bool memory_handed_over(void *data)
{
    struct block *block;
    bool known;

    pthread_mutex_lock(&lock);
    block = find(data);
    known = block->address != NULL;
    if (known) {
        block->handed_over = true;
    }
    pthread_mutex_unlock(&lock);
    return known;
}

void memory_lend(void *block, size_t size)
{
    add(block, size);
}

struct memory_use memory_use(void)
{
    struct memory_use use = {0};

    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < SLOTS; i++) {
        if (blocks[i].address == NULL) {
            continue;
        }
        use.blocks++;
        use.bytes += blocks[i].size;
        if (blocks[i].handed_over) {
            use.handed_blocks++;
            use.handed_bytes += blocks[i].size;
        }
    }
    pthread_mutex_unlock(&lock);
    return use;
}
