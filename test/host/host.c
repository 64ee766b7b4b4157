/*
 * test-host [options] LIBRARY
 *
 * Inputs, one with no properties if none is given:
 *   --input KEY=VALUE        begin an input
 *   --set KEY=VALUE          add to it
 * The Fluent Bit to be:
 *   --host VERSION           3.0, 4.1, 4.2.3 or 5.1.1 (default)
 *   --def-size 32|40|48      of flb_plugin_proxy_def; as VERSION has it
 *   --context-size 16|24     of the input's context; as VERSION has it
 *   --interval-ms N          between callbacks, 1000
 *   --no-catch-up            no call at once after one that overran
 *   --multi-instance-pause-bug  pause stops the timer of the last input
 *   --ring-entries N         room in an input's ring, 1024
 *   --filter-us N            that the engine spends on each record between count and write, 0
 *   --storage-bytes N        room for chunks; when it is full, writes fail. No limit without
 *   --flush-ms N             between the moments when outputs take all chunks, 1000
 *   --http-server            a second thread named flb-pipeline, that waits for events whatever the engine does
 *   --storage-metrics-ms N   between renewals of fluentbit_input_storage_memory_bytes, 5000
 *   --log-level LEVEL        error, warn, info (default), debug, trace
 * When to stop:
 *   --callbacks N, --records N, --seconds N, --exit-when-idle SECONDS
 * Where to:
 *   --output FILE            events as they come; several inputs write <name>.FILE each
 *
 * Commands on standard input, one a line, i counting inputs from 0:
 *   pause [i]   as by mem_buf_limit: the ring is not drained until resume
 *   resume [i]
 *   reload      as SIGHUP
 *   stop        as SIGTERM
 *   stats       print the statistics so far; the only one obeyed while filters run
 *   stall, go   the engine takes nothing off the rings, and does not wait for events
 *   chunks none|full|ok     no chunk can be had, writes to chunks fail, neither
 *   append fails|ok         appending fails, as for a processor that does
 *   output off|on           outputs take no chunks
 *
 * Prints one line of JSON at the end (stats.c). Exit status: 0, 1 library not
 * loaded, 2 wrong use, 3 the plugin touched what it must not, 255 Init failed.
 */
#include "host.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* FLB_INPUT_RING_BUFFER_CAPACITY, v5.1.1 src/flb_input.c:130 */
#define RING_ENTRIES 1024
/* FLB_CONFIG_FLUSH_SECS, v5.1.1 include/fluent-bit/flb_config.h:37 */
#define FLUSH_MS 1000
/* v5.1.1 src/flb_storage.c:382 */
#define STORAGE_METRICS_MS 5000

struct options options = {.log_level = LOG_INFO, .def_size = 48, .def_zeroed = true, .context_size = 24,
                          .interval_ms = 1000, .catch_up = true, .ring_entries = RING_ENTRIES,
                          .flush_ms = FLUSH_MS, .storage_metrics_ms = STORAGE_METRICS_MS};

long long now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* ---- options ---- */

void usage(const char *problem)
{
    fprintf(stderr, "test-host: %s; the options are at the top of test/host/host.c\n", problem);
    exit(2);
}

static void set_version(const char *name)
{
    static const struct {
        const char *name;
        size_t def_size, context_size;
    } versions[] = {{"3.0", 32, 16}, {"4.1", 32, 24}, {"4.2.3", 40, 24}, {"5.1.1", 48, 24}};

    for (size_t i = 0; i < sizeof(versions) / sizeof(*versions); i++) {
        if (strcmp(name, versions[i].name) == 0) {
            options.def_size = versions[i].def_size;
            options.context_size = versions[i].context_size;
            return;
        }
    }
    usage("--host wants 3.0, 4.1, 4.2.3 or 5.1.1");
}

static struct input *last_input(void)
{
    struct input *input = options.inputs;

    while (input != NULL && input->next != NULL) {
        input = input->next;
    }
    return input;
}

static void add_input(void)
{
    struct input *last = last_input();
    struct input **end = last != NULL ? &last->next : &options.inputs;

    *end = calloc(1, sizeof(**end));
    if (++options.input_count > MAX_INPUTS) {
        usage("too many inputs");
    }
}

static void add_property(char *text)
{
    struct property **end = &last_input()->properties;
    char *equals = strchr(text, '=');

    if (equals == NULL) {
        usage("--input and --set want KEY=VALUE");
    }
    *equals = '\0';
    while (*end != NULL) {
        end = &(*end)->next;
    }
    *end = calloc(1, sizeof(**end));
    **end = (struct property) {text, equals + 1, NULL};
}

static long number(const char *text)
{
    char *end;
    long n = strtol(text, &end, 10);

    if (n <= 0 || *end != '\0') {
        usage("not a positive number");
    }
    return n;
}

static void parse(int argc, char **argv)
{
    enum { INPUT = 1, SET, HOST, DEF_SIZE, CONTEXT_SIZE, INTERVAL, NO_CATCH_UP, PAUSE_BUG, LOG_LEVEL,
           RING, FILTER, STORAGE, FLUSH, STORAGE_METRICS, HTTP_SERVER, CALLBACK_LIMIT, RECORD_LIMIT, SECONDS, IDLE, OUTPUT };
    static const struct option known[] = {
        {"input", required_argument, NULL, INPUT}, {"set", required_argument, NULL, SET},
        {"host", required_argument, NULL, HOST}, {"def-size", required_argument, NULL, DEF_SIZE},
        {"context-size", required_argument, NULL, CONTEXT_SIZE}, {"interval-ms", required_argument, NULL, INTERVAL},
        {"no-catch-up", no_argument, NULL, NO_CATCH_UP}, {"multi-instance-pause-bug", no_argument, NULL, PAUSE_BUG},
        {"log-level", required_argument, NULL, LOG_LEVEL}, {"callbacks", required_argument, NULL, CALLBACK_LIMIT},
        {"records", required_argument, NULL, RECORD_LIMIT}, {"seconds", required_argument, NULL, SECONDS},
        {"exit-when-idle", required_argument, NULL, IDLE}, {"output", required_argument, NULL, OUTPUT},
        {"ring-entries", required_argument, NULL, RING}, {"filter-us", required_argument, NULL, FILTER},
        {"storage-bytes", required_argument, NULL, STORAGE}, {"flush-ms", required_argument, NULL, FLUSH},
        {"storage-metrics-ms", required_argument, NULL, STORAGE_METRICS}, {"http-server", no_argument, NULL, HTTP_SERVER},
        {0},
    };
    int option;

    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (option) {
        case INPUT: add_input(); add_property(optarg); break;
        case SET:
            if (options.inputs == NULL) {
                add_input();
            }
            add_property(optarg);
            break;
        case HOST: set_version(optarg); break;
        case DEF_SIZE: options.def_size = number(optarg); break;
        case CONTEXT_SIZE: options.context_size = number(optarg); break;
        case INTERVAL: options.interval_ms = number(optarg); break;
        case NO_CATCH_UP: options.catch_up = false; break;
        case PAUSE_BUG: options.pause_bug = true; break;
        case LOG_LEVEL: options.log_level = log_level_of(optarg); break;
        case RING: options.ring_entries = number(optarg); break;
        case FILTER: options.filter_us = number(optarg); break;
        case STORAGE: options.storage_bytes = number(optarg); break;
        case FLUSH: options.flush_ms = number(optarg); break;
        case STORAGE_METRICS: options.storage_metrics_ms = number(optarg); break;
        case HTTP_SERVER: options.http_server = true; break;
        case CALLBACK_LIMIT: options.callbacks = number(optarg); break;
        case RECORD_LIMIT: options.records = number(optarg); break;
        case SECONDS: options.seconds = number(optarg); break;
        case IDLE: options.idle_seconds = number(optarg); break;
        case OUTPUT: options.output = optarg; break;
        default: usage("unknown option");
        }
    }
    if (optind != argc - 1) {
        usage("want one library");
    }
    options.library = argv[optind];
    if (options.inputs == NULL) {
        add_input();
    }
    if (options.def_size != 32 && options.def_size != 40 && options.def_size != 48) {
        usage("--def-size wants 32, 40 or 48");
    }
    if (options.context_size != 16 && options.context_size != 24) {
        usage("--context-size wants 16 or 24");
    }
    options.def_zeroed = options.def_size > 32; /* calloc since v4.2.3 src/flb_plugin_proxy.c:624 */
}

int main(int argc, char **argv)
{
    sigset_t signals;

    parse(argc, argv);
    /* Blocked before the library makes threads, so that none of them gets these. */
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    return engine_run(&signals);
}
