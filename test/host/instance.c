/* One input, and the thread on which everything of it is called. */
#include "host.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/timerfd.h>
#include <unistd.h>

_Thread_local struct instance *current_instance;

enum command { START = 's', PAUSE = 'p', RESUME = 'r', EXIT = 'e', EXIT_HOT_RELOAD = 'h' };

/* The instances between the beginning of Init and the end of Exit. */
#define MAX_INSTANCES 64
static pthread_mutex_t known_lock = PTHREAD_MUTEX_INITIALIZER;
static const void *known[MAX_INSTANCES];

static void replace_known(const void *old, const void *new)
{
    pthread_mutex_lock(&known_lock);
    for (int i = 0; i < MAX_INSTANCES; i++) {
        if (known[i] == old) {
            known[i] = new;
            break;
        }
    }
    pthread_mutex_unlock(&known_lock);
}

bool instance_known(const void *ins)
{
    bool found = false;

    pthread_mutex_lock(&known_lock);
    for (int i = 0; i < MAX_INSTANCES; i++) {
        found = found || (ins != NULL && known[i] == ins);
    }
    pthread_mutex_unlock(&known_lock);
    return found;
}

const char *instance_name(const struct instance *ins)
{
    return ins->alias != NULL ? ins->alias : ins->name;
}

static void begin(const char *callback)
{
    current_callback = callback;
}

static void end(struct instance *ins)
{
    proxy_check(ins->proxy, ins, current_callback);
    current_callback = NULL;
}

static void *remote_context(struct instance *ins)
{
    return ((void **) lent_address(&ins->context))[1];
}

/* Whose collectors pause and resume look for the timer's id: with the bug those of the
 * last instance to be initialised (v5.1.1 src/flb_plugin_proxy.c:177 and :193). */
static struct instance *timer_owner(struct instance *ins)
{
    return options.pause_bug ? ins->proxy->last_initialised : ins;
}

/* v5.1.1 src/proxy/go/go.c:256 */
static void cleanup(struct instance *ins, void *data)
{
    struct callbacks *call = &ins->proxy->callbacks;

    if (call->cleanup_ctx != NULL) {
        begin("FLBPluginInputCleanupCallbackCtx");
        call->cleanup_ctx(remote_context(ins), data);
        end(ins);
    } else if (call->cleanup != NULL) {
        begin("FLBPluginInputCleanupCallback");
        call->cleanup(data);
        end(ins);
    } else {
        free(data);
    }
}

/* v5.1.1 src/flb_plugin_proxy.c:74 */
static void collect(struct instance *ins)
{
    struct callbacks *call = &ins->proxy->callbacks;
    void *data = NULL;
    size_t size = 0;
    long long start;
    int ret;

    begin(call->collect_ctx != NULL ? "FLBPluginInputCallbackCtx" : "FLBPluginInputCallback");
    start = now_ns();
    if (call->collect_ctx != NULL) {
        ret = call->collect_ctx(remote_context(ins), &data, &size);
    } else {
        ret = call->collect(&data, &size);
    }
    stats_called(now_ns() - start);
    end(ins);

    if (data != NULL && !memory_handed_over(data)) {
        stats_lock()->not_malloced++;
        stats_unlock();
    }
    if (size == 0) {
        return; /* no cleanup */
    }
    if (ret == -1) {
        say(LOG_ERROR, "[flb_plugin_proxy.c:93 errno=%i] %s", ENOTTY, strerror(ENOTTY));
        return; /* no cleanup either */
    }
    if (conditions.append_fails) {
        stats_lose(&(struct batch) {data, size});
    } else {
        ring_append(ins, data, size); /* v5.1.1 src/flb_plugin_proxy.c:97: whatever it returns */
    }
    cleanup(ins, data);
}

static void tick(struct instance *ins)
{
    uint64_t expirations;

    /* However many ticks were missed, one call makes up for them. Not readable
     * any more when the timer was stopped in between. */
    if (read(ins->timer, &expirations, sizeof(expirations)) != sizeof(expirations)) {
        return;
    }
    if (!stats_may_call()) {
        set_timer(ins, 0);
        return;
    }
    collect(ins);
    if (!options.catch_up && read(ins->timer, &expirations, sizeof(expirations)) < 0) {
        return; /* nothing was missed */
    }
}

/* What the event collector is given for struct flb_config: nothing to look into. */
static char config;

/* v5.1.1 src/flb_input_thread.c:170 */
static void call_collector(struct instance *ins, struct collector *collector)
{
    if (!collector->running) {
        return;
    }
    if (collector->call == NULL) {
        tick(ins);
        return;
    }
    stats_lock()->wakes++;
    stats_unlock();
    begin("collector event");
    collector->call(ins, &config, lent_address(&ins->context));
    end(ins);
}

static void notify(struct instance *ins, const char *callback, void (*call)(void))
{
    if (call != NULL) {
        begin(callback);
        call();
        end(ins);
    }
}

static void leave(struct instance *ins, bool hot_reload)
{
    struct callbacks *call = &ins->proxy->callbacks;
    long long start = now_ns();
    struct stats *stats;
    double ms;

    if (call->pre_exit != NULL) {
        begin("FLBPluginInputPreExit");
        call->pre_exit(hot_reload);
        end(ins);
    }
    if (call->exit != NULL) {
        begin("FLBPluginExit");
        call->exit();
        end(ins);
    }
    ms = (now_ns() - start) / 1e6;
    stats = stats_lock();
    stats->exit_ms = ms > stats->exit_ms ? ms : stats->exit_ms;
    stats_unlock();
}

static char next_command(struct instance *ins)
{
    char command;

    while (read(ins->channel[0], &command, 1) != 1) {
        if (errno != EINTR) {
            abort();
        }
    }
    return command;
}

/* Returns false when the thread has to end. */
static bool obey(struct instance *ins, char command)
{
    struct callbacks *call = &ins->proxy->callbacks;

    switch (command) {
    case PAUSE:
        notify(ins, "FLBPluginInputPause", call->pause);
        collector_pause(timer_owner(ins), ins->timer_id);
        metric_set(&ins->metrics, INGESTION_PAUSED, 1);
        return true;
    case RESUME:
        notify(ins, "FLBPluginInputResume", call->resume);
        collector_resume(timer_owner(ins), ins->timer_id);
        metric_set(&ins->metrics, INGESTION_PAUSED, 0);
        return true;
    default:
        leave(ins, command == EXIT_HOT_RELOAD);
        return false;
    }
}

/* v5.1.1 src/flb_input_thread.c:318 */
static void *run(void *arg)
{
    struct instance *ins = arg;
    struct callbacks *call = &ins->proxy->callbacks;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    char name[80];

    current_instance = ins;
    snprintf(name, sizeof(name), "flb-in-%s-w0", ins->name);
    prctl(PR_SET_NAME, name); /* which cuts it to 15 bytes */

    ins->init_result = proxy_init(ins->proxy, ins);
    /* After the collectors that the plugin has set: v5.1.1 src/flb_plugin_proxy.c:145. */
    ins->timer_id = collector_new(ins, NULL, ins->timer);
    sem_post(&ins->ready);
    if (ins->init_result <= 0 || next_command(ins) != START) {
        return NULL; /* another input failed: no Exit */
    }
    epoll_ctl(ins->loop, EPOLL_CTL_ADD, ins->channel[0], &event);
    for (int id = 0; id < ins->collector_count; id++) {
        collector_start(ins, id);
    }
    if (call->pre_run != NULL) {
        begin("FLBPluginInputPreRun");
        call->pre_run(1);
        end(ins);
    }
    for (;;) {
        if (epoll_wait(ins->loop, &event, 1, -1) != 1) {
            continue; /* interrupted */
        }
        if (event.data.ptr != NULL) {
            call_collector(ins, event.data.ptr);
        } else if (!obey(ins, next_command(ins))) {
            return NULL;
        }
    }
}

static const char *property(struct input *input, const char *key)
{
    for (struct property *p = input->properties; p != NULL; p = p->next) {
        if (strcmp(p->key, key) == 0) {
            return p->value;
        }
    }
    return NULL;
}

struct instance *instance_new(int index, struct input *input, struct proxy *proxy)
{
    struct instance *ins = calloc(1, sizeof(*ins));
    struct go_plugin *plugin = lent_address(&proxy->plugin);
    const char *level = property(input, "log_level");
    void **context;

    ins->index = index;
    ins->proxy = proxy;
    ins->properties = input->properties;
    ins->alias = property(input, "alias");
    ins->log_level = level != NULL ? log_level_of(level) : options.log_level;
    snprintf(ins->name, sizeof(ins->name), "%s.%d", plugin->name, index);
    ring_init(&ins->ring, options.ring_entries);
    metrics_init(&ins->metrics, instance_name(ins));
    sem_init(&ins->ready, 0, 0);
    ins->loop = epoll_create1(EPOLL_CLOEXEC);
    ins->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    /* The plugin is told of its context as it stands before Init: v5.1.1
     * src/flb_input.c:467, v3.0.0 src/flb_input.c:229. The proxy comes last. */
    context = lend(&ins->context, "the input's context", options.context_size, true);
    context[options.context_size / sizeof(void *) - 1] = proxy;
    lent_commit(&ins->context);

    replace_known(NULL, ins);
    if (pipe(ins->channel) != 0 || pthread_create(&ins->thread, NULL, run, ins) != 0) {
        abort();
    }
    while (sem_wait(&ins->ready) != 0) {
        /* interrupted */
    }
    return ins;
}

static void command(struct instance *ins, char what)
{
    if (write(ins->channel[1], &what, 1) != 1) {
        abort();
    }
}

void instance_start(struct instance *ins)
{
    command(ins, START);
}

void instance_pause(struct instance *ins)
{
    command(ins, PAUSE);
}

void instance_resume(struct instance *ins)
{
    command(ins, RESUME);
}

void instance_end(struct instance *ins, bool hot_reload)
{
    if (ins->init_result > 0) {
        command(ins, hot_reload ? EXIT_HOT_RELOAD : EXIT);
    }
    pthread_join(ins->thread, NULL);
    collectors_end(ins);
    replace_known(ins, NULL);
}

void instance_free(struct instance *ins)
{
    lent_free(&ins->context);
    ring_free(&ins->ring);
    close(ins->loop);
    close(ins->channel[0]);
    close(ins->channel[1]);
    close(ins->timer);
    sem_destroy(&ins->ready);
    free(ins);
}
