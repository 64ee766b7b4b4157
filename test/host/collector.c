/* What an input's thread waits for besides commands: descriptors, and the proxy's timer. */
#include "host.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>

void set_timer(struct instance *ins, long ms)
{
    struct timespec every = {ms / 1000, ms % 1000 * 1000000};
    struct itimerspec timer = {every, every};

    timerfd_settime(ins->timer, 0, &timer, NULL);
}

static struct collector *find(struct instance *ins, int id)
{
    return id >= 0 && id < ins->collector_count ? &ins->collectors[id] : NULL;
}

/* Ids count from 0: v5.1.1 src/flb_input.c:286. */
int collector_new(struct instance *ins, event_callback *call, int fd)
{
    struct collector *collector = &ins->collectors[ins->collector_count];

    if (ins->collector_count == MAX_COLLECTORS) {
        return -1;
    }
    collector->fd = fd;
    collector->call = call;
    return ins->collector_count++;
}

/* Level-triggered: v5.1.1 lib/monkey/mk_core/mk_event_epoll.c:128. */
static bool watch(struct instance *ins, struct collector *collector)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = collector};

    if (epoll_ctl(ins->loop, EPOLL_CTL_ADD, collector->fd, &event) != 0) {
        return false;
    }
    if (collector->call == NULL) {
        set_timer(ins, options.interval_ms);
    }
    collector->running = true;
    return true;
}

/* v5.1.1 src/flb_input.c:2317 */
void collector_start(struct instance *ins, int id)
{
    if (!watch(ins, find(ins, id))) {
        say(LOG_ERROR, "[input collector] COLLECT_EVENT registration failed");
    }
}

/* v5.1.1 src/flb_input.c:3138 */
int collector_pause(struct instance *ins, int id)
{
    struct collector *collector = find(ins, id);

    if (collector == NULL) {
        return -1;
    }
    if (!collector->running) {
        return 0;
    }
    if (collector->call == NULL) {
        set_timer(ins, 0);
    }
    if (epoll_ctl(ins->loop, EPOLL_CTL_DEL, collector->fd, NULL) != 0) {
        say(LOG_WARN, "[input] cannot disable event for %s", ins->name);
        return -1;
    }
    collector->running = false;
    return 0;
}

/* v5.1.1 src/flb_input.c:3198 */
int collector_resume(struct instance *ins, int id)
{
    struct collector *collector = find(ins, id);

    if (collector == NULL) {
        return -1;
    }
    if (collector->running) {
        say(LOG_ERROR, "[input] cannot resume collector %s:%i, already running", ins->name, id);
        return -1;
    }
    if (!engine_ingesting()) {
        return 0;
    }
    if (!watch(ins, collector)) {
        say(LOG_ERROR, "[input] cannot disable/pause event for %s", ins->name);
        return -1;
    }
    return 0;
}

/*
 * Fluent Bit takes the number of a running collector's descriptor off the engine's
 * loop (v5.1.1 src/flb_input.c:3130), whatever it stands for by then. A loop of
 * epoll knows a descriptor by its file too, so it tells if that has been closed.
 */
void collectors_end(struct instance *ins)
{
    for (int id = 0; id < ins->collector_count; id++) {
        struct collector *collector = &ins->collectors[id];

        if (collector->running && epoll_ctl(ins->loop, EPOLL_CTL_DEL, collector->fd, NULL) != 0) {
            violation("descriptor %d of the running collector %d of %s has been closed: %s",
                      collector->fd, id, ins->name, strerror(errno));
        }
    }
}
