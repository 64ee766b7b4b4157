/*
 * The metrics of an input, and their text as cmetrics writes it
 * (v5.1.1 lib/cmetrics/src/cmt_encode_text.c:492): all counters, then all gauges.
 */
#include "host.h"

#include <time.h>

/* v5.1.1 src/flb_input.c:1604 to :1799 */
static const char *const names[METRICS] = {
    [BYTES] = "bytes_total",
    [RECORDS] = "records_total",
    [RING_WRITES] = "ring_buffer_writes_total",
    [RING_RETRIES] = "ring_buffer_retries_total",
    [RING_RETRY_FAILURES] = "ring_buffer_retry_failures_total",
    [INGESTION_PAUSED] = "ingestion_paused",
    [STORAGE_MEMORY_BYTES] = "storage_memory_bytes",
};

static long long unix_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

void metrics_init(struct metrics *metrics, const char *input)
{
    metrics->input = input;
    for (int i = 0; i < METRICS; i++) {
        metric_set(metrics, i, 0);
    }
}

void metric_add(struct metrics *metrics, enum metric metric, long long value)
{
    metrics->of[metric].value += value;
    metrics->of[metric].timestamp = unix_ns();
}

void metric_set(struct metrics *metrics, enum metric metric, long long value)
{
    metrics->of[metric].value = value;
    metrics->of[metric].timestamp = unix_ns();
}

/* The ring's came with v4.1.0, as the larger context did. */
static bool has(enum metric metric)
{
    return options.context_size == 24 || metric < RING_WRITES || metric > RING_RETRY_FAILURES;
}

size_t metrics_text(struct metrics *metrics, char *to, size_t room)
{
    size_t used = 0;

    for (int i = 0; i < METRICS; i++) {
        long long timestamp = metrics->of[i].timestamp;
        time_t seconds = timestamp / 1000000000;
        struct tm utc;

        if (!has(i)) {
            continue;
        }
        gmtime_r(&seconds, &utc);
        used += strftime(to + used, room - used, "%Y-%m-%dT%H:%M:%S.", &utc);
        used += snprintf(to + used, room - used, "%09lldZ fluentbit_input_%s{name=\"%s\"} = %.17g\n",
                         timestamp % 1000000000, names[i], metrics->input, (double) metrics->of[i].value);
    }
    return used;
}
