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
 *   stats       print the statistics so far
 *
 * Prints one line of JSON at the end (stats.c). Exit status: 0, 1 library not
 * loaded, 2 wrong use, 3 the plugin touched what it must not, 255 Init failed.
 */
#include "host.h"

#include <errno.h>
#include <getopt.h>
#include <libgen.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

/* v5.1.1 include/fluent-bit/flb_config.h, FLB_DEV_RB_MS */
#define DRAIN_MS 250

#define MAX_INPUTS 16

struct options options = {.log_level = LOG_INFO, .def_size = 48, .def_zeroed = true, .context_size = 24,
                          .interval_ms = 1000, .catch_up = true};

static struct proxy *proxy;
static struct instance *instances[MAX_INPUTS];
static FILE *outputs[MAX_INPUTS];
static int instance_count;
static int wake = -1;
static bool stopping;

long long now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

void wake_main(void)
{
    uint64_t one = 1;

    if (write(wake, &one, sizeof(one)) < 0) {
        abort();
    }
}

/* ---- options ---- */

static void usage(const char *problem)
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
    if (++instance_count > MAX_INPUTS) {
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
           CALLBACKS, RECORDS, SECONDS, IDLE, OUTPUT };
    static const struct option known[] = {
        {"input", required_argument, NULL, INPUT}, {"set", required_argument, NULL, SET},
        {"host", required_argument, NULL, HOST}, {"def-size", required_argument, NULL, DEF_SIZE},
        {"context-size", required_argument, NULL, CONTEXT_SIZE}, {"interval-ms", required_argument, NULL, INTERVAL},
        {"no-catch-up", no_argument, NULL, NO_CATCH_UP}, {"multi-instance-pause-bug", no_argument, NULL, PAUSE_BUG},
        {"log-level", required_argument, NULL, LOG_LEVEL}, {"callbacks", required_argument, NULL, CALLBACKS},
        {"records", required_argument, NULL, RECORDS}, {"seconds", required_argument, NULL, SECONDS},
        {"exit-when-idle", required_argument, NULL, IDLE}, {"output", required_argument, NULL, OUTPUT},
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
        case CALLBACKS: options.callbacks = number(optarg); break;
        case RECORDS: options.records = number(optarg); break;
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

/* ---- life of the inputs ---- */

/* The output file of an input, which stays open over a reload. */
static FILE *output_of(struct instance *ins)
{
    char path[4096], directory[4096], base[4096];

    if (options.output == NULL || outputs[ins->index] != NULL) {
        return outputs[ins->index];
    }
    if (instance_count == 1) {
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

    for (int i = 0; i < instance_count; i++, input = input->next) {
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
    for (int i = 0; i < instance_count; i++) {
        instance_start(instances[i]);
    }
    return true;
}

/* v5.1.1 src/flb_input_chunk.c:3616 */
static void drain(void)
{
    for (int i = 0; i < instance_count; i++) {
        if (!instances[i]->buffer_full) {
            ring_deliver(&instances[i]->ring, instances[i]->output);
        }
    }
}

/* Nothing comes of a pause for an input that a full buffer has paused already:
 * v5.1.1 src/flb_input.c:3056. */
static void pause_all(void)
{
    for (int i = 0; i < instance_count; i++) {
        if (!instances[i]->buffer_full) {
            instance_pause(instances[i]);
        }
    }
}

/* end_all is the way of a shutdown: v5.1.1 src/flb_engine.c:1432 and :1681. */
static void end_all(bool hot_reload)
{
    const struct timespec wait = {0, DRAIN_MS * 1000000};

    pause_all();
    nanosleep(&wait, NULL);
    drain();
    pause_all();
    for (int i = 0; i < instance_count; i++) {
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
    new_proxy = proxy_load(options.library, true);
    if (new_proxy == NULL) {
        return true; /* the old one goes on */
    }
    end_all(true);
    proxy_unload(proxy);
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

/* Returns false when nothing is left running. */
static bool obey(const char *line)
{
    char name[16] = "";
    int index = -1;

    sscanf(line, "%15s %d", name, &index);
    if (strcmp(name, "pause") == 0 || strcmp(name, "resume") == 0) {
        for (int i = 0; i < instance_count; i++) {
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
    } else if (name[0] != '\0') {
        say(LOG_ERROR, "[test-host] unknown command %s", name);
    }
    return true;
}

/* obey_all obeys the complete lines that fd holds; closes it (-1) at its end. */
static bool obey_all(int *fd)
{
    static char pending[4096];
    static size_t used;
    ssize_t n = read(*fd, pending + used, sizeof(pending) - 1 - used);
    char *newline;

    if (n <= 0) {
        *fd = -1;
        return true;
    }
    used += n;
    pending[used] = '\0';
    while ((newline = strchr(pending, '\n')) != NULL) {
        *newline = '\0';
        if (!obey(pending)) {
            return false;
        }
        used -= newline + 1 - pending;
        memmove(pending, newline + 1, used + 1);
    }
    if (used == sizeof(pending) - 1) {
        used = 0; /* no command is that long */
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

/* Returns false when nothing is left running. */
static bool serve(int signals)
{
    struct pollfd fds[3] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = signals, .events = POLLIN},
                            {.fd = wake, .events = POLLIN}};
    long long started = now_ns(), next_drain = started;
    struct signalfd_siginfo signal;
    uint64_t wakes;

    while (!stopping) {
        long long left = (next_drain - now_ns()) / 1000000;

        if (poll(fds, 3, left > 0 ? (int) left : 0) < 0 && errno != EINTR) {
            abort();
        }
        if (now_ns() >= next_drain) {
            drain();
            next_drain = now_ns() + DRAIN_MS * 1000000LL;
        }
        if (fds[0].revents != 0 && !obey_all(&fds[0].fd)) {
            return false;
        }
        if (fds[1].revents & POLLIN && read(signals, &signal, sizeof(signal)) == sizeof(signal) &&
            !obey(signal.ssi_signo == SIGHUP ? "reload" : "stop")) {
            return false;
        }
        if (fds[2].revents & POLLIN && read(wake, &wakes, sizeof(wakes)) < 0) {
            abort();
        }
        stopping = stopping || limit_reached(started);
    }
    return true;
}

int main(int argc, char **argv)
{
    sigset_t signals;
    bool running;

    parse(argc, argv);
    /* Blocked before the library makes threads, so that none of them gets these. */
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    proxy = proxy_load(options.library, false);
    if (proxy == NULL) {
        return violated() ? 3 : 1;
    }
    running = start_all() && serve(signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
    if (running) {
        end_all(false);
        say(LOG_INFO, "[engine] service has stopped");
    }
    proxy_unload(proxy);
    for (int i = 0; i < instance_count; i++) {
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
