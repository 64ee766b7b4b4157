/*
 * What Fluent Bit lends an input plugin of its Go proxy, as far as this plugin
 * uses it. Only fields that keep their offset from v3.0.0 to v5.1.1 are named.
 * Struct names differ from the host's so that they cannot clash with other headers.
 */
#ifndef OFFICE365_HOST_H
#define OFFICE365_HOST_H

#include <stddef.h>
#include <stdint.h>

/* FLB_LOG_*, include/fluent-bit/flb_log.h:40 (v5.1.1) */
enum {
    HOST_LOG_ERROR = 1,
    HOST_LOG_WARN = 2,
    HOST_LOG_INFO = 3,
    HOST_LOG_DEBUG = 4,
    HOST_LOG_TRACE = 5
};

/* struct flb_api, include/fluent-bit/flb_api.h:27 (v5.1.1), :26 (v3.0.0) */
struct host_api {
    void *output_get_property;
    const char *(*input_get_property)(const char *key, void *i_ins);
    void *output_get_cmt_instance;
    void *input_get_cmt_instance;
    void (*log_print)(int level, const char *file, int line, const char *format, ...);
    int (*input_log_check)(void *i_ins, int level);
};

/*
 * The context of an input instance. Since v4.1.0 it is
 *     struct flb_plugin_input_proxy_context { int coll_fd; void *remote_context; proxy * }
 * (include/fluent-bit/flb_plugin_proxy.h:68, v5.1.1), zeroed but for proxy
 * (src/flb_input.c:467). Before, Init is given
 *     struct flb_plugin_proxy_context { void *remote_context; proxy * }
 * (src/flb_input.c:227, v3.0.0), so the slot at offset 8 is free for the plugin
 * exactly when it is NULL.
 */
struct host_context {
    uint64_t unused;
    void *remote_context_or_proxy;
};

/*
 * struct flbgo_input_plugin, src/proxy/go/go.h:37 (v5.1.1). One per library, not
 * per instance: i_ins and context are those of the instance being initialised
 * and change with the next (src/proxy/go/go.c:215).
 */
struct host_plugin {
    char *name;
    struct host_api *api;
    void *i_ins;
    struct host_context *context;
};

/* Alias or name of an input, src/flb_input.c:1139 (v5.1.1). Not part of the
 * plugin API: the executable exports it, another host may not. */
extern const char *flb_input_name(void *i_ins) __attribute__((weak));

static inline const char *host_input_name(void *i_ins)
{
    return flb_input_name != NULL ? flb_input_name(i_ins) : NULL;
}

/*
 * Fluent Bit's own metrics. Neither is this part of the plugin API, but the executable exports it (src/CMakeLists.txt:619, ENABLE_EXPORTS),
 * with the same signatures from v3.0.0 to v5.1.1. It is safe as used here:
 *   - Metrics and their label sets are made in Init. Whoever reads an input's metrics, the exporter (src/flb_metrics_exporter.c:324) or
 *     the input fluentbit_metrics, walks their lists without a lock, but begins when all inputs are initialised: the former in
 *     src/flb_engine.c:1317, the latter by src/flb_input_thread.c:394.
 *   - Afterwards only values change, which are atomic (lib/cmetrics/src/cmt_metric.c:71).
 *   - They belong to the input, which is destroyed when Exit has returned (src/flb_input.c:2127). All strings are copied.
 */
struct cmt;
struct cmt_gauge;
struct cmt_counter;

extern struct cmt *flb_input_get_cmt_instance(void *i_ins) __attribute__((weak));
extern struct cmt_gauge *cmt_gauge_create(struct cmt *cmt, const char *ns, const char *subsystem, const char *name, const char *help,
                                          int label_count, const char **label_keys) __attribute__((weak));
extern int cmt_gauge_set(struct cmt_gauge *gauge, uint64_t timestamp, double value, int label_count,
                         const char **label_values) __attribute__((weak));
extern struct cmt_counter *cmt_counter_create(struct cmt *cmt, const char *ns, const char *subsystem, const char *name, const char *help,
                                              int label_count, const char **label_keys) __attribute__((weak));
extern int cmt_counter_set(struct cmt_counter *counter, uint64_t timestamp, double value, int label_count,
                           const char **label_values) __attribute__((weak));

/* NULL where the host has none */
struct host_metrics {
    struct cmt_gauge *behind;
    struct cmt_gauge *incomplete;
    struct cmt_counter *lost;
    struct cmt_counter *gaps;
};

static inline void host_set_gauge(struct cmt_gauge *gauge, uint64_t timestamp, const char *input, double value)
{
    if (gauge != NULL) {
        cmt_gauge_set(gauge, timestamp, value, 1, &input);
    }
}

static inline void host_set_counter(struct cmt_counter *counter, uint64_t timestamp, const char *input, double value)
{
    if (counter != NULL) {
        cmt_counter_set(counter, timestamp, value, 1, &input);
    }
}

/* host_set_metrics: timestamp in nanoseconds of Unix time. */
static inline void host_set_metrics(struct host_metrics metrics, void *i_ins, uint64_t timestamp, double behind, double incomplete,
                                    double lost, double gaps)
{
    const char *input = host_input_name(i_ins);

    host_set_gauge(metrics.behind, timestamp, input, behind);
    host_set_gauge(metrics.incomplete, timestamp, input, incomplete);
    host_set_counter(metrics.lost, timestamp, input, lost);
    host_set_counter(metrics.gaps, timestamp, input, gaps);
}

/* host_make_metrics makes them, with the input's label. Only during Init. */
static inline struct host_metrics host_make_metrics(void *i_ins, uint64_t timestamp)
{
    struct host_metrics metrics = {NULL, NULL, NULL, NULL};
    const char *label = "name";
    struct cmt *cmt;

    if (flb_input_get_cmt_instance == NULL || host_input_name(i_ins) == NULL || cmt_gauge_create == NULL || cmt_gauge_set == NULL ||
        cmt_counter_create == NULL || cmt_counter_set == NULL) {
        return metrics;
    }
    cmt = flb_input_get_cmt_instance(i_ins);
    if (cmt == NULL) {
        return metrics;
    }
    metrics.behind = cmt_gauge_create(cmt, "fluentbit", "office365", "behind_seconds",
                                      "How far back lies the moment up to which everything is through.", 1, &label);
    metrics.incomplete = cmt_gauge_create(cmt, "fluentbit", "office365", "blobs_incomplete",
                                          "Blobs whose records are not through.", 1, &label);
    metrics.lost = cmt_counter_create(cmt, "fluentbit", "office365", "blobs_lost_total", "Blobs given up.", 1, &label);
    metrics.gaps = cmt_counter_create(cmt, "fluentbit", "office365", "gaps_total",
                                      "Spans that can not be listed any more and never were.", 1, &label);
    host_set_metrics(metrics, i_ins, timestamp, 0, 0, 0, 0);
    return metrics;
}

/*
 * Handing over as native inputs do. It is exported like the metrics above, with the same signatures from v3.0.0 to v5.1.1, and used on the
 * input's thread only. Where one of these is missing the plugin is asked for batches by the proxy's timer, once a second.
 *   - flb_input_log_append copies the data into the input's ring buffer, or on the engine's thread into a chunk (src/flb_input_log.c,
 *     src/flb_input_chunk.c:3667).
 *   - An event collector is called on the input's thread while its descriptor can be read (src/flb_input_thread.c:195). It has to be set
 *     in Init, before the collectors are started. A pause stops it only if it is asked to, which also takes the descriptor out of the
 *     event loop: then it may be closed (src/flb_input.c:3138).
 *   - The text of an input's metrics (lib/cmetrics/src/cmt_encode_text.c) is made of values that are atomic and of lists that do not change
 *     after Init, but for the series that telemetry.metrics.logs_tag_records adds, which is off by default (src/flb_input_chunk.c:89).
 */
extern int flb_input_log_append(void *i_ins, const char *tag, size_t tag_len, const void *buf, size_t size) __attribute__((weak));
extern int flb_input_set_collector_event(void *i_ins, int (*collect)(void *i_ins, void *config, void *context), int fd, void *config)
    __attribute__((weak));
extern int flb_input_collector_pause(int id, void *i_ins) __attribute__((weak));
extern char *cmt_encode_text_create(struct cmt *cmt) __attribute__((weak));
extern void cmt_encode_text_destroy(char *text) __attribute__((weak));

/* A function that came with v3.2.0, as this did: a batch is counted before filters see it (src/flb_input_chunk.c:1588, v3.2.0). Until then it
 * was when it had been written, if filters had left something of it (:1628, v3.1.10). It is never called. */
extern void flb_notification_enqueue(void) __attribute__((weak));

static inline int host_counts_before_filters(void)
{
    return flb_notification_enqueue != NULL;
}

/* Called by the event collector: plugin/exports.go. */
extern int office365Woken(void *i_ins, void *config, void *context);

/* host_can_append says whether batches can be appended. */
static inline int host_can_append(void)
{
    return flb_input_log_append != NULL;
}

/* host_append returns 0 when the host has taken the batch. The tag is the input's. */
static inline int host_append(void *i_ins, const void *buf, size_t size)
{
    return flb_input_log_append(i_ins, NULL, 0, buf, size);
}

/* host_collect_on has the input woken by a descriptor; -1: it cannot be. Only during Init, and only on an input with a thread of its own:
 * on any other the host would read the configuration, which is NULL here (src/flb_input.c:2226). */
static inline int host_collect_on(void *i_ins, int fd)
{
    if (flb_input_set_collector_event == NULL || flb_input_collector_pause == NULL) {
        return -1;
    }
    return flb_input_set_collector_event(i_ins, office365Woken, fd, NULL);
}

static inline void host_stop_collecting(void *i_ins, int id)
{
    flb_input_collector_pause(id, i_ins);
}

/* host_metrics_text is to be given back to host_free_text; NULL: there are no metrics. */
static inline char *host_metrics_text(void *i_ins)
{
    struct cmt *cmt;

    if (flb_input_get_cmt_instance == NULL || cmt_encode_text_create == NULL || cmt_encode_text_destroy == NULL) {
        return NULL;
    }
    cmt = flb_input_get_cmt_instance(i_ins);
    return cmt != NULL ? cmt_encode_text_create(cmt) : NULL;
}

static inline void host_free_text(char *text)
{
    cmt_encode_text_destroy(text);
}

/* host_set_context stores the handle where the host returns it with the ...Ctx
 * callbacks, and says whether there was such a place. */
static inline int host_set_context(struct host_plugin *plugin, uintptr_t handle)
{
    struct host_context *context = plugin->context;

    if (context == NULL || context->remote_context_or_proxy != NULL) {
        return 0;
    }
    context->remote_context_or_proxy = (void *) handle;
    return 1;
}

/* host_log_level is the finest level the instance logs at, 0 for none. */
static inline int host_log_level(struct host_api *api, void *i_ins)
{
    int level = HOST_LOG_TRACE;

    while (level > 0 && !api->input_log_check(i_ins, level)) {
        level--;
    }
    return level;
}

/* Go cannot call a variadic function. */
static inline void host_log(struct host_api *api, int level, const char *text)
{
    api->log_print(level, NULL, 0, "%s", text);
}

#endif
