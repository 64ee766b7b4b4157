/*
 * What the engine makes of a batch that it has taken off the ring, in the order
 * of v5.1.1 src/flb_input_chunk.c:3155: a chunk for it, the count, the filters,
 * the write. Of the chunks, only their size is kept.
 */
#include "host.h"

static size_t stored; /* by all inputs, also those that have ended */

long batch_records(const struct batch *batch, size_t *at, const char **why)
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

/* Fails as for a volume that is full: v5.1.1 src/flb_input_chunk.c:3345. */
static bool write_chunk(struct instance *ins, size_t size)
{
    if (conditions.chunks == CHUNKS_FULL || (options.storage_bytes > 0 && stored + size > (size_t) options.storage_bytes)) {
        return false;
    }
    stored += size;
    ins->stored += size;
    return true;
}

void chunks_append(struct instance *ins, const struct batch *batch)
{
    const char *why = NULL;
    size_t good;
    long records = batch_records(batch, &good, &why);
    struct stats *stats;

    if (conditions.chunks == CHUNKS_NONE) { /* :3248 */
        say(LOG_ERROR, "[input chunk] no available chunk");
        stats = stats_lock();
        stats->dropped_uncounted_batches++;
        stats->dropped_uncounted_records += records;
        stats_unlock();
        return;
    }
    metric_add(&ins->metrics, RECORDS, records); /* :3309 */
    metric_add(&ins->metrics, BYTES, batch->size);
    stats = stats_lock();
    stats->counted_records += records;
    stats_unlock();

    commands_wait(records * options.filter_us * 1000LL); /* the filters: :3333 */

    if (!write_chunk(ins, batch->size)) { /* :3369 */
        say(LOG_ERROR, "[input chunk] error writing data from %s instance", instance_name(ins));
        stats = stats_lock();
        stats->dropped_counted_batches++;
        stats->dropped_counted_records += records;
        stats_unlock();
        return;
    }
    if (good < batch->size) {
        say(LOG_ERROR, "[test-host] bad event after %ld good ones, at byte %zu of %zu: %s", records, good, batch->size, why);
    }
    if (ins->output != NULL) {
        fwrite(batch->data, 1, batch->size, ins->output);
        fflush(ins->output);
    }
    stats = stats_lock();
    stats->batches++;
    stats->records += records;
    stats->bytes += batch->size;
    stats->invalid += good < batch->size;
    stats_unlock();
}

void chunks_taken(void)
{
    stored = 0;
}
