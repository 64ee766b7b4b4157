/*
 * A minimal Fluent Bit for one Go input plugin: loads the shared library as
 * Fluent Bit's Go proxy does, calls it in the same order from the same threads,
 * and watches what it does with what it is lent. See host.c for the options.
 *
 * "v5.1.1 src/x.c:n" in comments points into the source of Fluent Bit.
 */
#ifndef TEST_HOST_H
#define TEST_HOST_H

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* ---- host.c: what was asked for ---- */

struct property {
    const char *key;
    const char *value;
    struct property *next;
};

/* One [INPUT] section. */
struct input {
    struct property *properties;
    struct input *next;
};

#define MAX_INPUTS 16

struct options {
    const char *library;
    struct input *inputs;
    int input_count;
    const char *output;     /* file for what was received, or NULL */
    int log_level;
    size_t def_size;        /* of flb_plugin_proxy_def */
    bool def_zeroed;
    size_t context_size;    /* 16: no remote_context, 24: with it and the Ctx callbacks */
    long interval_ms;
    bool catch_up;          /* call again at once after a callback that overran */
    bool pause_bug;
    long ring_entries;
    long filter_us;         /* that filters take for a record */
    long storage_bytes;     /* room for chunks, 0: no limit */
    long flush_ms, storage_metrics_ms;
    bool http_server;       /* another thread of the engine's name */
    long callbacks, records, seconds, idle_seconds; /* limits, 0 for none */
};

extern struct options options;

/* usage ends the process for wrong use. */
void usage(const char *problem) __attribute__((noreturn));

long long now_ns(void);

/* ---- engine.c: the main thread, Fluent Bit's flb-pipeline ---- */

/* What commands have made of the host. All but append_fails is the engine's alone. */
struct conditions {
    atomic_bool append_fails;
    enum { CHUNKS_OK, CHUNKS_NONE, CHUNKS_FULL } chunks;
    bool output_off;
    bool stalled;
};

extern struct conditions conditions;

/* engine_wake makes the engine look at its limits. */
void engine_wake(void);
/* engine_drain_soon makes it empty the rings without waiting for its timer. */
void engine_drain_soon(void);
/* engine_ingesting is false from the beginning of a shutdown on. */
bool engine_ingesting(void);
/* engine_run loads the library and serves its inputs to their end; returns the exit status. */
int engine_run(const sigset_t *signals);

/* ---- commands.c: lines of standard input ---- */

/* commands_read takes in what there is; false at the end of the input. */
bool commands_read(void);
/* commands_next is the next complete line, cut to room; false: there is none. */
bool commands_next(char *line, size_t room);
/* commands_wait waits so long, and meanwhile obeys no command but stats. */
void commands_wait(long long ns);

/* ---- log.c: the log of the host ---- */

enum { LOG_ERROR = 1, LOG_WARN, LOG_INFO, LOG_DEBUG, LOG_TRACE };

int log_level_of(const char *name); /* 0: unknown */
void log_print(int level, const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void say(int level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- lent.c: structures lent to the plugin, between canaries ---- */

struct lent {
    const char *name;
    size_t size;
    unsigned char *block;    /* guard, structure, guard */
    unsigned char *expected; /* the structure as it has to be */
};

void *lend(struct lent *lent, const char *name, size_t size, bool zeroed);
void *lent_address(const struct lent *lent);
/* lent_commit: what stands there now is right. */
void lent_commit(struct lent *lent);
/* lent_check reports every change but in bytes [from, to), and undoes it. */
void lent_check(struct lent *lent, const char *callback, size_t from, size_t to);
void lent_free(struct lent *lent);
/* violation reports anything else that the plugin must not do. */
void violation(const char *format, ...) __attribute__((format(printf, 1, 2)));
bool violated(void);

/* ---- memory.c: C blocks that the plugin allocated ---- */

/* Watch allocations by code at [from, to). */
void memory_watch(uintptr_t from, uintptr_t to);
/* memory_handed_over says whether a watched block begins at data, and marks it. */
bool memory_handed_over(void *data);
/* memory_lend watches a block of the host's own that the plugin has to give back. */
void memory_lend(void *block, size_t size);

struct memory_use {
    size_t blocks, bytes;               /* live */
    size_t handed_blocks, handed_bytes; /* of these, handed over as data */
};

struct memory_use memory_use(void);

/* ---- event.c: what Fluent Bit accepts as an event ---- */

/* event_check returns the length of the event that begins data, or 0 and why not. */
size_t event_check(const unsigned char *data, size_t size, const char **why);

/* ---- ring.c: from the instance's thread to the engine ---- */

struct instance;

struct batch {
    unsigned char *data;
    size_t size;
};

struct ring {
    pthread_mutex_t lock;
    struct batch *entries;
    size_t room, first, count;
    bool flush_pending; /* the engine has been told of it */
};

void ring_init(struct ring *ring, size_t room);
void ring_free(struct ring *ring);
/* ring_append copies data into the instance's ring. -1: it was full all the time, and the batch is lost. */
int ring_append(struct instance *ins, const void *data, size_t size);
bool ring_take(struct ring *ring, struct batch *batch);
/* ring_flushed: the engine has taken what it wants. */
void ring_flushed(struct ring *ring);
/* ring_discard throws away what is in the ring, and counts it as lost. */
void ring_discard(struct ring *ring);

/* ---- chunks.c: what the engine makes of a batch ---- */

/* batch_records counts the good events; *at is where they end, *why says why there. */
long batch_records(const struct batch *batch, size_t *at, const char **why);
/* chunks_append counts the batch, filters it, and writes it into a chunk. */
void chunks_append(struct instance *ins, const struct batch *batch);
/* chunks_taken: the outputs have taken all of them. */
void chunks_taken(void);

/* ---- metrics.c: the input's, as cmetrics has them ---- */

enum metric { BYTES, RECORDS, RING_WRITES, RING_RETRIES, RING_RETRY_FAILURES, INGESTION_PAUSED, STORAGE_MEMORY_BYTES, METRICS };

struct metrics {
    const char *input;
    struct {
        _Atomic long long value;
        _Atomic long long timestamp; /* ns of Unix time */
    } of[METRICS];
};

void metrics_init(struct metrics *metrics, const char *input);
void metric_add(struct metrics *metrics, enum metric metric, long long value);
void metric_set(struct metrics *metrics, enum metric metric, long long value);
/* metrics_text writes them as cmt_encode_text_create does; returns the length. */
size_t metrics_text(struct metrics *metrics, char *to, size_t room);

/* ---- stats.c ---- */

struct stats {
    long batches, records, bytes, invalid;
    long lost_batches, lost_records;
    long appended, append_failures;                     /* calls of flb_input_log_append */
    long counted_records;                               /* in fluentbit_input_records_total */
    long dropped_uncounted_batches, dropped_uncounted_records;
    long dropped_counted_batches, dropped_counted_records;
    long wakes;                                         /* calls of event collectors */
    long not_malloced; /* batches that are no block of the C heap */
    long stray_log_lines, stray_queries; /* calls from a thread of the plugin's own */
    double exit_ms;
};

struct stats *stats_lock(void);
void stats_unlock(void);
long long stats_last_data_ns(void);
void stats_data_arrived(void);
/* stats_may_call counts a callback; false when the limit is reached. */
bool stats_may_call(void);
bool stats_calls_done(void);
void stats_called(long long ns);
/* stats_waiting notes a batch that came into a ring, or left it. */
void stats_waiting(int change);
/* stats_lose counts a batch that never left the ring, or never came into it. */
void stats_lose(const struct batch *batch);
void stats_print(FILE *out);

/* ---- proxy.c: the library ---- */

struct proxy;

/* struct flbgo_input_plugin, v5.1.1 src/proxy/go/go.h:37. One per library. The
 * host's function pointers behind these are not for the plugin. */
struct go_plugin {
    char *name;
    void *api;
    void *i_ins;
    void *context;
    void *callbacks[6];
};

struct callbacks {
    int (*init)(void *);
    int (*collect)(void **, size_t *);
    int (*collect_ctx)(void *, void **, size_t *);
    int (*cleanup)(void *);
    int (*cleanup_ctx)(void *, void *);
    int (*pre_run)(int);
    void (*pause)(void);
    void (*resume)(void);
    void (*pre_exit)(int);
    int (*exit)(void);
};

struct proxy {
    void *handle;
    struct lent def, api, plugin;
    struct callbacks callbacks;
    struct instance *last_initialised;
};

/* proxy_load loads and registers the library: PreRegister, Register. NULL on failure. */
struct proxy *proxy_load(const char *path, bool hot_reload);
/* proxy_init is FLBPluginInit for ins. */
int proxy_init(struct proxy *proxy, struct instance *ins);
/* proxy_check looks at everything lent, after a callback for ins (or none). */
void proxy_check(struct proxy *proxy, struct instance *ins, const char *callback);
/* proxy_unload: Unregister. */
void proxy_unload(struct proxy *proxy);

/* The callback that this thread is in, NULL outside of any. */
extern _Thread_local const char *current_callback;

/* ---- collector.c: what an input's thread waits for ---- */

/* More than any input has. */
#define MAX_COLLECTORS 8

typedef int event_callback(void *ins, void *config, void *context);

struct collector {
    int fd;
    event_callback *call; /* NULL: the proxy's timer */
    atomic_bool running;  /* on a host with the pause bug, another input's thread may stop the timer */
};

/* collector_new returns the id. It waits for collector_start. */
int collector_new(struct instance *ins, event_callback *call, int fd);
void collector_start(struct instance *ins, int id);
int collector_pause(struct instance *ins, int id);
int collector_resume(struct instance *ins, int id);
/* collectors_end looks whether they can be taken off the loop: at the end, when the thread is gone. */
void collectors_end(struct instance *ins);
void set_timer(struct instance *ins, long ms);

/* ---- instance.c: one input and its thread ---- */

struct instance {
    int index;
    char name[64];
    const char *alias;
    int log_level;
    struct property *properties;
    struct proxy *proxy;
    struct lent context;
    struct ring ring;
    struct metrics metrics;
    size_t stored;    /* bytes in chunks. The engine's alone */
    FILE *output;

    pthread_t thread;
    sem_t ready;      /* posted when Init has returned */
    int init_result;
    int loop;         /* epoll */
    int channel[2];   /* commands to the thread */
    int timer;
    struct collector collectors[MAX_COLLECTORS];
    int collector_count;
    int timer_id;     /* of the proxy's timer among the collectors */
    bool buffer_full; /* paused as by mem_buf_limit: the ring is not drained. The engine's alone */
};

/* The instance that this thread belongs to, NULL for any other thread. */
extern _Thread_local struct instance *current_instance;

/* instance_new starts the thread and waits for Init; see init_result. */
struct instance *instance_new(int index, struct input *input, struct proxy *proxy);
void instance_start(struct instance *ins);
void instance_pause(struct instance *ins);
void instance_resume(struct instance *ins);
/* instance_end joins the thread: with PreExit and Exit if it was started. */
void instance_end(struct instance *ins, bool hot_reload);
void instance_free(struct instance *ins);
bool instance_known(const void *ins);
/* instance_name is the alias, or the name. */
const char *instance_name(const struct instance *ins);

#endif
