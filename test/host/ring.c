/* The ring buffer between an instance's thread and the engine. */
#include "host.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* v5.1.1 src/flb_input_chunk.c:3556 */
#define RETRIES 10
#define RETRY_MS 100

/* Filled so far, in %, the engine is told of it at once: v5.1.1 src/flb_input.c:132. */
#define WINDOW 5

void ring_init(struct ring *ring, size_t room)
{
    memset(ring, 0, sizeof(*ring));
    pthread_mutex_init(&ring->lock, NULL);
    ring->entries = calloc(room, sizeof(*ring->entries));
    ring->room = room;
}

void ring_free(struct ring *ring)
{
    free(ring->entries);
}

/* As many bytes as v5.1.1 src/flb_ring_buffer.c:120 computes, for pointers. */
static bool window_reached(const struct ring *ring)
{
    return ring->count * sizeof(void *) >= ring->room * sizeof(void *) * WINDOW / 100;
}

static bool put(struct ring *ring, struct batch batch)
{
    bool room, tell = false;

    pthread_mutex_lock(&ring->lock);
    room = ring->count < ring->room;
    if (room) {
        ring->entries[(ring->first + ring->count++) % ring->room] = batch;
        stats_waiting(1);
        tell = !ring->flush_pending && window_reached(ring);
        ring->flush_pending = ring->flush_pending || tell;
    }
    pthread_mutex_unlock(&ring->lock);
    if (tell) {
        engine_drain_soon();
    }
    return room;
}

bool ring_take(struct ring *ring, struct batch *batch)
{
    bool any;

    pthread_mutex_lock(&ring->lock);
    any = ring->count > 0;
    if (any) {
        *batch = ring->entries[ring->first];
        ring->first = (ring->first + 1) % ring->room;
        ring->count--;
        stats_waiting(-1);
    }
    pthread_mutex_unlock(&ring->lock);
    return any;
}

/* v5.1.1 src/flb_ring_buffer.c:240 */
void ring_flushed(struct ring *ring)
{
    pthread_mutex_lock(&ring->lock);
    if (ring->count == 0 || !window_reached(ring)) {
        ring->flush_pending = false;
    }
    pthread_mutex_unlock(&ring->lock);
}

/* v5.1.1 src/flb_input_chunk.c:3497 */
int ring_append(struct instance *ins, const void *data, size_t size)
{
    struct batch batch = {malloc(size), size};
    const struct timespec wait = {0, RETRY_MS * 1000000};

    memcpy(batch.data, data, size);
    stats_data_arrived();
    for (int try = 0; try < RETRIES; try++) {
        if (put(&ins->ring, batch)) {
            metric_add(&ins->metrics, RING_WRITES, 1);
            return 0;
        }
        metric_add(&ins->metrics, RING_RETRIES, 1);
        nanosleep(&wait, NULL);
    }
    say(LOG_ERROR, "[input] could not enqueue records into the ring buffer");
    metric_add(&ins->metrics, RING_RETRY_FAILURES, 1);
    stats_lose(&batch);
    free(batch.data);
    return -1;
}

void ring_discard(struct ring *ring)
{
    struct batch batch;

    while (ring_take(ring, &batch)) {
        stats_lose(&batch);
        free(batch.data);
    }
}
