/* What is counted, and the line of JSON that reports it. */
#include "host.h"

#include <stdlib.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct stats stats;
static _Atomic long long last_data_ns;
static atomic_long calls;
static atomic_long waiting; /* batches in the rings */

static long long *durations; /* of callbacks, ns; guarded by lock */
static size_t duration_count, duration_room;

struct stats *stats_lock(void)
{
    pthread_mutex_lock(&lock);
    return &stats;
}

void stats_unlock(void)
{
    pthread_mutex_unlock(&lock);
}

void stats_data_arrived(void)
{
    last_data_ns = now_ns();
}

long long stats_last_data_ns(void)
{
    return last_data_ns;
}

bool stats_may_call(void)
{
    if (options.callbacks > 0 && atomic_fetch_add(&calls, 1) >= options.callbacks) {
        engine_wake();
        return false;
    }
    return true;
}

bool stats_calls_done(void)
{
    return options.callbacks > 0 && calls >= options.callbacks;
}

void stats_waiting(int change)
{
    waiting += change;
}

void stats_called(long long ns)
{
    pthread_mutex_lock(&lock);
    if (duration_count == duration_room) {
        duration_room = duration_room == 0 ? 1024 : 2 * duration_room;
        durations = realloc(durations, duration_room * sizeof(*durations));
        if (durations == NULL) {
            abort();
        }
    }
    durations[duration_count++] = ns;
    pthread_mutex_unlock(&lock);
}

static int ascending(const void *a, const void *b)
{
    long long x = *(const long long *) a, y = *(const long long *) b;

    return (x > y) - (x < y);
}

/* Nearest-rank percentile of the sorted durations, in microseconds. */
static double percentile(double p)
{
    size_t rank = (size_t) (p * duration_count + 0.9999999);

    if (duration_count == 0) {
        return 0;
    }
    return durations[rank == 0 ? 0 : rank - 1] / 1000.0;
}

void stats_lose(const struct batch *batch)
{
    const char *why;
    size_t at;
    long records = batch_records(batch, &at, &why);

    pthread_mutex_lock(&lock);
    stats.lost_batches++;
    stats.lost_records += records;
    pthread_mutex_unlock(&lock);
}

void stats_print(FILE *out)
{
    struct memory_use use = memory_use();

    pthread_mutex_lock(&lock);
    if (duration_count > 0) {
        qsort(durations, duration_count, sizeof(*durations), ascending);
    }
    fprintf(out,
            "{\"callbacks\":%zu,\"batches\":%ld,\"records\":%ld,\"bytes\":%ld,\"invalid\":%ld,"
            "\"waiting_batches\":%ld,\"lost_batches\":%ld,\"lost_records\":%ld,"
            "\"appended\":%ld,\"append_failures\":%ld,\"counted_records\":%ld,\"wakes\":%ld,"
            "\"dropped_uncounted_batches\":%ld,\"dropped_uncounted_records\":%ld,"
            "\"dropped_counted_batches\":%ld,\"dropped_counted_records\":%ld,"
            "\"unfreed_blocks\":%zu,\"unfreed_bytes\":%zu,\"not_malloced\":%ld,"
            "\"live_blocks\":%zu,\"live_bytes\":%zu,"
            "\"callback_us\":{\"p50\":%.1f,\"p99\":%.1f,\"max\":%.1f},\"exit_ms\":%.1f,"
            "\"stray_log_lines\":%ld,\"stray_queries\":%ld,\"canaries_ok\":%s}\n",
            duration_count, stats.batches, stats.records, stats.bytes, stats.invalid,
            waiting, stats.lost_batches, stats.lost_records,
            stats.appended, stats.append_failures, stats.counted_records, stats.wakes,
            stats.dropped_uncounted_batches, stats.dropped_uncounted_records,
            stats.dropped_counted_batches, stats.dropped_counted_records,
            use.handed_blocks, use.handed_bytes, stats.not_malloced,
            use.blocks, use.bytes,
            percentile(0.50), percentile(0.99), percentile(1), stats.exit_ms,
            stats.stray_log_lines, stats.stray_queries, violated() ? "false" : "true");
    fflush(out);
    pthread_mutex_unlock(&lock);
}
