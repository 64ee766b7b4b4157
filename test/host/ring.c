/* The ring buffer between an instance's thread and the main thread. */
#include "host.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* v5.1.1 src/flb_input_chunk.c:3556 */
#define RETRIES 10
#define RETRY_MS 100

void ring_init(struct ring *ring)
{
    memset(ring, 0, sizeof(*ring));
    pthread_mutex_init(&ring->lock, NULL);
}

static bool put(struct ring *ring, struct batch batch)
{
    bool room;

    pthread_mutex_lock(&ring->lock);
    room = ring->count < RING_ENTRIES;
    if (room) {
        ring->entries[(ring->first + ring->count++) % RING_ENTRIES] = batch;
        stats_waiting(1);
    }
    pthread_mutex_unlock(&ring->lock);
    return room;
}

static bool get(struct ring *ring, struct batch *batch)
{
    bool any;

    pthread_mutex_lock(&ring->lock);
    any = ring->count > 0;
    if (any) {
        *batch = ring->entries[ring->first];
        ring->first = (ring->first + 1) % RING_ENTRIES;
        ring->count--;
        stats_waiting(-1);
    }
    pthread_mutex_unlock(&ring->lock);
    return any;
}

/* count_records counts the good events of a batch; *at is where they end. */
static long count_records(const struct batch *batch, size_t *at, const char **why)
{
    long records = 0;

    for (*at = 0; *at < batch->size; records++) {
        size_t length = event_check(batch->data + *at, batch->size - *at, why);

        if (length == 0) {
            break;
        }
        *at += length;
    }
    return records;
}

static void lose(struct batch batch)
{
    const char *why;
    size_t at;
    long records = count_records(&batch, &at, &why);
    struct stats *stats = stats_lock();

    stats->lost_batches++;
    stats->lost_records += records;
    stats_unlock();
    free(batch.data);
}

void ring_append(struct ring *ring, const void *data, size_t size)
{
    struct batch batch = {malloc(size), size};
    const struct timespec wait = {0, RETRY_MS * 1000000};

    memcpy(batch.data, data, size);
    stats_data_arrived();
    for (int try = 0; try < RETRIES; try++) {
        if (put(ring, batch)) {
            return;
        }
        nanosleep(&wait, NULL);
    }
    say(LOG_ERROR, "[input] could not enqueue records into the ring buffer");
    lose(batch);
}

void ring_deliver(struct ring *ring, FILE *output)
{
    struct batch batch;

    while (get(ring, &batch)) {
        const char *why = NULL;
        size_t at;
        long records = count_records(&batch, &at, &why);
        struct stats *stats = stats_lock();

        stats->batches++;
        stats->records += records;
        stats->bytes += batch.size;
        stats->invalid += at < batch.size;
        stats_unlock();
        if (at < batch.size) {
            say(LOG_ERROR, "[test-host] bad event after %ld good ones, at byte %zu of %zu: %s",
                records, at, batch.size, why);
        }
        if (output != NULL) {
            fwrite(batch.data, 1, batch.size, output);
            fflush(output);
        }
        free(batch.data);
    }
}

void ring_discard(struct ring *ring)
{
    struct batch batch;

    while (get(ring, &batch)) {
        lose(batch);
    }
}
