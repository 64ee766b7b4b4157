/* The engine: the life of the inputs, their rings, and commands. */
#include "host.h"

#include <errno.h>
#include <libgen.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

/* v5.1.1 src/flb_engine.c:1366 */
#define DRAIN_MS 250

struct conditions conditions;

static struct proxy *proxy;
static struct instance *instances[MAX_INPUTS];
static FILE *outputs[MAX_INPUTS];
static int loop = -1, wake = -1;
static atomic_bool drain_asked, ingesting;
static bool stopping;

void engine_wake(void)
{
    uint64_t one = 1;

    if (write(wake, &one, sizeof(one)) < 0) {
        abort();
    }
}

void engine_drain_soon(void)
{
    drain_asked = true;
    engine_wake();
}

bool engine_ingesting(void)
{
    return ingesting;
}

/*
 * Fluent Bit calls libraries, as to register, from its first thread, and runs the
 * engine on one named flb-pipeline (v5.1.1 src/flb_lib.c:925). Here they are one,
 * with the name of what it is at the moment: threads that Go makes inherit it.
 */
static struct proxy *load(bool hot_reload)
{
    struct proxy *loaded;

    prctl(PR_SET_NAME, "fluent-bit");
    loaded = proxy_load(options.library, hot_reload);
    prctl(PR_SET_NAME, "flb-pipeline");
    return loaded;
}

/* With http_server on, Fluent Bit's server for it waits on a thread that has the
 * engine's name too (v5.1.1 src/flb_engine.c:1330, src/flb_downstream_worker.c:425). */
static void *serve_http(void *unused)
{
    int requests = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event none;

    for (;;) {
        epoll_wait(requests, &none, 1, -1);
    }
    return unused;
}

static void unload(void)
{
    prctl(PR_SET_NAME, "fluent-bit");
    proxy_unload(proxy);
    prctl(PR_SET_NAME, "flb-pipeline");
}

/* ---- life of the inputs ---- */

/* The output file of an input, which stays open over a reload. */
static FILE *output_of(struct instance *ins)
{
    char path[4096], directory[4096], base[4096];

    if (options.output == NULL || outputs[ins->index] != NULL) {
        return outputs[ins->index];
    }
    if (options.input_count == 1) {
        snprintf(path, sizeof(path), "%s", options.output);
    } else {
        snprintf(directory, sizeof(directory), "%s", options.output);
        snprintf(base, sizeof(base), "%s", options.output);
        if (snprintf(path, sizeof(path), "%s/%s.%s", dirname(directory), ins->name, basename(base)) >= (int) sizeof(path)) {
            usage("--output is too long");
        }
    }
    outputs[ins->index] = fopen(path, "wb");
    if (outputs[ins->index] == NULL) {
        usage("cannot write to --output");
    }
    return outputs[ins->index];
}

/* start_all initialises the inputs one after the other, then lets them run. */
static bool start_all(void)
{
    struct input *input = options.inputs;

    ingesting = true;
    for (int i = 0; i < options.input_count; i++, input = input->next) {
        instances[i] = instance_new(i, input, proxy);
        instances[i]->output = output_of(instances[i]);
        if (instances[i]->init_result <= 0) {
            say(LOG_ERROR, "[engine] input initialization failed");
            for (int j = 0; j <= i; j++) {
                instance_end(instances[j], false);
                instance_free(instances[j]);
                instances[j] = NULL;
            }
            return false;
        }
    }
    for (int i = 0; i < options.input_count; i++) {
        instance_start(instances[i]);
    }
    return true;
}

/* v5.1.1 src/flb_input_chunk.c:3615 */
static void drain(void)
{
    struct batch batch;

    for (int i = 0; !conditions.stalled && i < options.input_count; i++) {
        struct instance *ins = instances[i];

        while (!ins->buffer_full && ring_take(&ins->ring, &batch)) {
            chunks_append(ins, &batch);
            free(batch.data);
        }
        ring_flushed(&ins->ring);
    }
}

/* The outputs take what is in the chunks. */
static void flush(void)
{
    if (conditions.output_off) {
        return;
    }
    chunks_taken();
    for (int i = 0; i < options.input_count; i++) {
        instances[i]->stored = 0;
    }
}

/* v5.1.1 src/flb_storage.c:225 */
static void renew_storage_metrics(void)
{
    for (int i = 0; i < options.input_count; i++) {
        metric_set(&instances[i]->metrics, STORAGE_MEMORY_BYTES, instances[i]->stored);
    }
}

/* Nothing comes of a pause for an input that a full buffer has paused already:
 * v5.1.1 src/flb_input.c:3056. */
static void pause_all(void)
{
    for (int i = 0; i < options.input_count; i++) {
        if (!instances[i]->buffer_full) {
            instance_pause(instances[i]);
        }
    }
}

/* end_all is the way of a shutdown: v5.1.1 src/flb_engine.c:1432 and :1681. */
static void end_all(bool hot_reload)
{
    int at_rest = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event none;

    ingesting = false;
    pause_all();
    epoll_wait(at_rest, &none, 1, DRAIN_MS);
    close(at_rest);
    drain();
    pause_all();
    for (int i = 0; i < options.input_count; i++) {
        instance_end(instances[i], hot_reload);
        ring_discard(&instances[i]->ring);
        instance_free(instances[i]);
        instances[i] = NULL;
    }
}

/* v5.1.1 src/flb_reload.c:463: the new generation registers before the old one ends. */
static bool reload(void)
{
    struct proxy *new_proxy;

    say(LOG_INFO, "[reload] reloading");
    new_proxy = load(true);
    if (new_proxy == NULL) {
        return true; /* the old one goes on */
    }
    end_all(true);
    unload();
    proxy = new_proxy;
    return start_all();
}

/* ---- commands and limits ---- */

static void set_paused(struct instance *ins, bool pause)
{
    if (pause == ins->buffer_full) {
        return;
    }
    ins->buffer_full = pause;
    if (pause) {
        instance_pause(ins);
    } else {
        instance_resume(ins);
    }
}

/* Commands of one fixed line. */
static bool obey_condition(const char *line)
{
    if (strcmp(line, "stall") == 0) {
        conditions.stalled = true;
    } else if (strcmp(line, "go") == 0) {
        conditions.stalled = false;
        drain();
    } else if (strcmp(line, "chunks none") == 0) {
        conditions.chunks = CHUNKS_NONE;
    } else if (strcmp(line, "chunks full") == 0) {
        conditions.chunks = CHUNKS_FULL;
    } else if (strcmp(line, "chunks ok") == 0) {
        conditions.chunks = CHUNKS_OK;
    } else if (strcmp(line, "append fails") == 0) {
        conditions.append_fails = true;
    } else if (strcmp(line, "append ok") == 0) {
        conditions.append_fails = false;
    } else if (strcmp(line, "output off") == 0) {
        conditions.output_off = true;
    } else if (strcmp(line, "output on") == 0) {
        conditions.output_off = false;
    } else {
        return false;
    }
    return true;
}

/* Returns false when nothing is left running. */
static bool obey(const char *line)
{
    char name[16] = "";
    int index = -1;

    sscanf(line, "%15s %d", name, &index);
    if (strcmp(name, "pause") == 0 || strcmp(name, "resume") == 0) {
        for (int i = 0; i < options.input_count; i++) {
            if (index < 0 || index == i) {
                set_paused(instances[i], name[0] == 'p');
            }
        }
    } else if (strcmp(name, "reload") == 0) {
        return reload();
    } else if (strcmp(name, "stop") == 0) {
        stopping = true;
    } else if (strcmp(name, "stats") == 0) {
        stats_print(stdout);
    } else if (!obey_condition(line) && name[0] != '\0') {
        say(LOG_ERROR, "[test-host] unknown command %s", line);
    }
    return true;
}

static bool limit_reached(long long started)
{
    long long now = now_ns(), second = 1000000000LL, last = stats_last_data_ns();
    long records = stats_lock()->records;

    stats_unlock();
    return stats_calls_done() || (options.records > 0 && records >= options.records) ||
           (options.seconds > 0 && now - started >= options.seconds * second) ||
           (options.idle_seconds > 0 && now - (last != 0 ? last : started) >= options.idle_seconds * second);
}

/* ---- events ---- */

enum source { COMMANDS, SIGNALS, WAKE, DRAIN, FLUSH, STORAGE_METRICS };

static int timers[STORAGE_METRICS + 1]; /* by source */

static bool watch(int fd, enum source source)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = source};

    return epoll_ctl(loop, EPOLL_CTL_ADD, fd, &event) == 0;
}

static void watch_timer(long ms, enum source source)
{
    struct timespec every = {ms / 1000, ms % 1000 * 1000000};
    struct itimerspec timer = {every, every};
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);

    timerfd_settime(fd, 0, &timer, NULL);
    timers[source] = fd;
    watch(fd, source);
}

/* next waits for an event. A stalled engine does not wait for it in epoll_wait. */
static enum source next(void)
{
    struct pollfd any = {.fd = loop, .events = POLLIN};
    struct epoll_event event;

    for (;;) {
        if (conditions.stalled) {
            poll(&any, 1, -1);
        }
        if (epoll_wait(loop, &event, 1, conditions.stalled ? 0 : -1) == 1) {
            return event.data.u32;
        }
    }
}

/* consume makes fd unreadable until something comes again. */
static void consume(int fd)
{
    uint64_t times;

    if (read(fd, &times, sizeof(times)) < 0 && errno != EAGAIN) {
        abort();
    }
}

/* Returns false when nothing is left running. */
static bool serve(int signals)
{
    long long started = now_ns();
    struct signalfd_siginfo signal;
    char line[64];

    watch_timer(DRAIN_MS, DRAIN);
    watch_timer(options.flush_ms, FLUSH);
    watch_timer(options.storage_metrics_ms, STORAGE_METRICS);
    watch(wake, WAKE);
    watch(signals, SIGNALS);
    if (!watch(STDIN_FILENO, COMMANDS)) {
        while (commands_read()) {
            /* A file, which epoll does not take. */
        }
    }
    while (!stopping) {
        while (commands_next(line, sizeof(line))) {
            if (!obey(line)) {
                return false;
            }
        }
        stopping = stopping || limit_reached(started);
        if (stopping) {
            break;
        }
        switch (next()) {
        case COMMANDS:
            if (!commands_read()) {
                epoll_ctl(loop, EPOLL_CTL_DEL, STDIN_FILENO, NULL);
            }
            break;
        case SIGNALS:
            if (read(signals, &signal, sizeof(signal)) == sizeof(signal) &&
                !obey(signal.ssi_signo == SIGHUP ? "reload" : "stop")) {
                return false;
            }
            break;
        case WAKE:
            consume(wake);
            if (drain_asked) {
                drain_asked = false;
                drain();
            }
            break;
        case DRAIN:
            consume(timers[DRAIN]);
            drain();
            break;
        case FLUSH:
            consume(timers[FLUSH]);
            flush();
            break;
        case STORAGE_METRICS:
            consume(timers[STORAGE_METRICS]);
            renew_storage_metrics();
            break;
        }
    }
    return true;
}

int engine_run(const sigset_t *signals)
{
    pthread_t http;
    bool running;

    loop = epoll_create1(EPOLL_CLOEXEC);
    wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    proxy = load(false);
    if (proxy == NULL) {
        return violated() ? 3 : 1;
    }
    if (options.http_server && pthread_create(&http, NULL, serve_http, NULL) != 0) {
        abort();
    }
    running = start_all() && serve(signalfd(-1, signals, SFD_CLOEXEC | SFD_NONBLOCK));
    if (running) {
        end_all(false);
        say(LOG_INFO, "[engine] service has stopped");
    }
    unload();
    for (int i = 0; i < options.input_count; i++) {
        if (outputs[i] != NULL) {
            fclose(outputs[i]);
        }
    }
    stats_print(stdout);
    if (violated()) {
        return 3;
    }
    return running ? 0 : 255;
}
