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

struct options {
    const char *library;
    struct input *inputs;
    const char *output;     /* file for what was received, or NULL */
    int log_level;
    size_t def_size;        /* of flb_plugin_proxy_def */
    bool def_zeroed;
    size_t context_size;    /* 16: no remote_context, 24: with it and the Ctx callbacks */
    long interval_ms;
    bool catch_up;          /* call again at once after a callback that overran */
    bool pause_bug;
    long callbacks, records, seconds, idle_seconds; /* limits, 0 for none */
};

extern struct options options;

/* wake_main makes the main loop look at its limits. */
void wake_main(void);

long long now_ns(void);

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

struct memory_use {
    size_t blocks, bytes;               /* live */
    size_t handed_blocks, handed_bytes; /* of these, handed over as data */
};

struct memory_use memory_use(void);

/* ---- event.c: what Fluent Bit accepts as an event ---- */

/* event_check returns the length of the event that begins data, or 0 and why not. */
size_t event_check(const unsigned char *data, size_t size, const char **why);

/* ---- ring.c: from the instance's thread to the main thread ---- */

/* FLB_INPUT_RING_BUFFER_CAPACITY, v5.1.1 src/flb_input.c:120 */
#define RING_ENTRIES 1024

struct batch {
    unsigned char *data;
    size_t size;
};

struct ring {
    pthread_mutex_t lock;
    struct batch entries[RING_ENTRIES];
    size_t first, count;
};

void ring_init(struct ring *ring);
void ring_append(struct ring *ring, const void *data, size_t size);
/* ring_deliver checks, counts and writes to output (or not, if NULL) what is in the ring. */
void ring_deliver(struct ring *ring, FILE *output);
/* ring_discard throws away what is in the ring, and counts it as lost. */
void ring_discard(struct ring *ring);

/* ---- stats.c ---- */

struct stats {
    long batches, records, bytes, invalid;
    long lost_batches, lost_records;
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
void stats_print(FILE *out);

/* ---- proxy.c: the library ---- */

struct proxy;
struct instance;

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
    FILE *output;

    pthread_t thread;
    sem_t ready;      /* posted when Init has returned */
    int init_result;
    int channel[2];   /* commands to the thread */
    int timer;
    bool buffer_full; /* paused as by mem_buf_limit: the ring is not drained. Main thread only */
};

/* instance_new starts the thread and waits for Init; see init_result. */
struct instance *instance_new(int index, struct input *input, struct proxy *proxy);
void instance_start(struct instance *ins);
void instance_pause(struct instance *ins);
void instance_resume(struct instance *ins);
/* instance_end joins the thread: with PreExit and Exit if it was started. */
void instance_end(struct instance *ins, bool hot_reload);
void instance_free(struct instance *ins);
bool instance_known(const void *ins);

#endif
