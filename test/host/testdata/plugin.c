/*
 * A Fluent Bit input in C that logs each call, and gives one event per callback.
 * MISBEHAVE in the environment names one thing that it does wrong, DO one that is
 * right, EVENT (hex) is what it gives instead of its good event. With APPEND=n the
 * callback gives nothing: it wakes an event collector, which appends n events.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

struct def {
    int type, proxy, flags;
    char *name, *description;
    int event_type;
};

struct api {
    void *output_get_property;
    const char *(*input_get_property)(const char *, void *);
    void *unused[2];
    void (*log_print)(int, const char *, int, const char *, ...);
    int (*input_log_check)(void *, int);
};

struct context {
    int coll_fd;
    void *remote_context;
};

struct plugin {
    char *name;
    struct api *api;
    void *i_ins;
    struct context *context;
};

static const unsigned char good[] = {
    0x92, 0x92, 0xD7, 0x00, 0x65, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x80, 0x81, 0xA1, 'n', 0x01,
};

#define WEAK __attribute__((weak))
int flb_input_log_append(void *ins, const char *tag, size_t tag_len, const void *data, size_t size) WEAK;
int flb_input_set_collector_event(void *ins, int (*call)(void *, void *, void *), int fd, void *config) WEAK;
int flb_input_collector_pause(int id, void *ins) WEAK;
int flb_input_collector_resume(int id, void *ins) WEAK;
void *flb_input_get_cmt_instance(void *ins) WEAK;
char *cmt_encode_text_create(void *cmt) WEAK;
void cmt_encode_text_destroy(char *text) WEAK;

static int wake = -1, collector = -1;
static struct api *api;
static void *last_ins;
static int token; /* its address is the remote context */

static int chosen(const char *variable, const char *what)
{
    const char *value = getenv(variable);

    return value != NULL && strcmp(value, what) == 0;
}

static int misbehave(const char *how)
{
    return chosen("MISBEHAVE", how);
}

static int does(const char *what)
{
    return chosen("DO", what);
}

static int appends(void)
{
    const char *events = getenv("APPEND");

    return events != NULL ? atoi(events) : 0;
}

static void note(const char *call, long argument)
{
    if (api != NULL) {
        api->log_print(3, NULL, 0, "%s %ld", call, argument);
    } else {
        fprintf(stderr, "%s %ld\n", call, argument);
    }
}

static void *log_from_thread(void *unused)
{
    note("stray", 0);
    return unused;
}

static void sleep_ms(long ms)
{
    struct timespec wait = {0, ms * 1000000};

    nanosleep(&wait, NULL);
}

static void *append_from_thread(void *data)
{
    flb_input_log_append(last_ins, NULL, 0, data, sizeof(good));
    return NULL;
}

static void *pause_from_thread(void *unused)
{
    flb_input_collector_pause(collector, last_ins);
    return unused;
}

static void run(void *(*function)(void *), void *argument)
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, function, argument) == 0) {
        pthread_join(thread, NULL);
    }
}

static size_t event(unsigned char *to);

static int collect_event(void *ins, void *config, void *context)
{
    unsigned char data[4096];
    uint64_t times;
    size_t size = 0;
    int ret;

    (void) config;
    if (ins != last_ins || ((struct context *) context)->remote_context != &token) {
        note("wrong context", 0);
    }
    if (!does("leave the descriptor unread") && read(wake, &times, sizeof(times)) < 0) {
        note("read", -1);
    }
    for (int i = appends(); i > 0; i--) {
        size += event(data + size);
    }
    if (misbehave("append from a thread")) {
        run(append_from_thread, data);
        return 0;
    }
    if (misbehave("pause from a thread")) {
        run(pause_from_thread, NULL);
    }
    ret = flb_input_log_append(ins, NULL, 0, data, misbehave("append nothing") ? 0 : size);
    if (ret != 0) {
        note("append", ret);
    }
    if (does("pause the timer")) {
        note("timer paused", flb_input_collector_pause(collector + 1, ins));
    }
    if (misbehave("set a collector late")) {
        flb_input_set_collector_event(ins, collect_event, wake, NULL);
    }
    return 0;
}

static void tell_metrics(void)
{
    char *text = cmt_encode_text_create(flb_input_get_cmt_instance(last_ins));

    api->log_print(3, NULL, 0, "metrics:\n%s", text);
    if (!misbehave("keep a text")) {
        cmt_encode_text_destroy(text);
    }
}

int FLBPluginPreRegister(int hot_reload)
{
    note("PreRegister", hot_reload);
    return 0;
}

int FLBPluginRegister(struct def *def)
{
    note("Register", 0);
    def->type = 1;
    def->proxy = 11;
    def->flags = 0;
    def->name = strdup("test");
    def->description = strdup("test plugin");
    if (misbehave("write past def")) {
        def->event_type = 0;
    }
    return 0;
}

void FLBPluginUnregister(struct def *def)
{
    note("Unregister", 0);
    if (misbehave("ask after exit")) {
        api->input_log_check(last_ins, 3);
    }
    if (misbehave("append after exit")) {
        flb_input_log_append(last_ins, NULL, 0, good, sizeof(good));
    }
    free(def->name);
    free(def->description);
}

int FLBPluginInit(struct plugin *p)
{
    const char *message = p->api->input_get_property("Message", p->i_ins);

    api = p->api;
    last_ins = p->i_ins;
    note("Init", 0);
    api->log_print(3, NULL, 0, "message=%s port=%s info=%d debug=%d", message != NULL ? message : "NULL",
                   p->api->input_get_property("port", p->i_ins) != NULL ? "set" : "NULL",
                   api->input_log_check(p->i_ins, 3), api->input_log_check(p->i_ins, 4));
    if (p->context->remote_context == NULL) {
        p->context->remote_context = &token;
    } else if (misbehave("write to proxy")) {
        p->context->remote_context = (char *) p->context->remote_context + 1;
    }
    if (misbehave("write to coll_fd")) {
        p->context->coll_fd = 7;
    }
    if (misbehave("write to plugin")) {
        p->name = NULL;
    }
    if (misbehave("write to api")) {
        p->api->unused[0] = &token;
    }
    if (does("tell what is exported")) {
        note("append", flb_input_log_append != NULL);
        note("collectors", flb_input_set_collector_event != NULL && flb_input_collector_pause != NULL &&
                               flb_input_collector_resume != NULL);
        note("metrics", flb_input_get_cmt_instance != NULL && cmt_encode_text_create != NULL && cmt_encode_text_destroy != NULL);
    }
    if (appends() > 0) {
        wake = eventfd(0, EFD_NONBLOCK);
        collector = flb_input_set_collector_event(last_ins, collect_event, wake, NULL);
        note("collector", collector);
    }
    return misbehave("fail init") ? 0 : 1;
}

int FLBPluginInputPreRun(int hot_reload)
{
    note("PreRun", hot_reload);
    return 1;
}

static size_t event(unsigned char *to)
{
    const char *hex = getenv("EVENT");
    size_t n = 0;

    if (hex == NULL) {
        memcpy(to, good, sizeof(good));
        return sizeof(good);
    }
    for (unsigned byte; sscanf(hex, "%2x", &byte) == 1; hex += 2) {
        to[n++] = byte;
    }
    return n;
}

int FLBPluginInputCallback(void **data, size_t *size)
{
    static unsigned char shared[4096];
    uint64_t one = 1;

    if (does("tell metrics")) {
        tell_metrics();
    }
    if (appends() > 0) {
        *size = 0;
        return write(wake, &one, sizeof(one)) < 0 ? -1 : 1;
    }
    if (misbehave("log from a thread")) {
        run(log_from_thread, NULL);
    }
    if (misbehave("be slow")) {
        sleep_ms(30);
    }
    *data = misbehave("give static memory") ? shared : malloc(sizeof(shared));
    *size = misbehave("give size 0 with data") ? 0 : event(*data);
    return misbehave("return -1") ? -1 : 1;
}

int FLBPluginInputCallbackCtx(void *remote, void **data, size_t *size)
{
    if (remote != &token) {
        note("wrong context", 0);
    }
    return FLBPluginInputCallback(data, size);
}

int FLBPluginInputCleanupCallback(void *data)
{
    if (!misbehave("leak") && !misbehave("give static memory")) {
        free(data);
    }
    return 1;
}

int FLBPluginInputCleanupCallbackCtx(void *remote, void *data)
{
    (void) remote;
    return FLBPluginInputCleanupCallback(data);
}

void FLBPluginInputPause(void)
{
    note("Pause", 0);
    if (does("pause its collector")) {
        flb_input_collector_pause(collector, last_ins);
    }
}

void FLBPluginInputResume(void)
{
    note("Resume", 0);
    if (does("pause its collector")) {
        note("collector resumed", flb_input_collector_resume(collector, last_ins));
    }
}

void FLBPluginInputPreExit(int hot_reload)
{
    note("PreExit", hot_reload);
    if (misbehave("exit slowly")) {
        sleep_ms(50);
    }
}

int FLBPluginExit(void)
{
    note("Exit", 0);
    if (does("close a paused descriptor")) {
        flb_input_collector_pause(collector, last_ins);
        close(wake);
    }
    if (misbehave("close a running descriptor")) {
        close(wake);
    }
    if (misbehave("have the number of a closed descriptor used again")) {
        close(wake);
        note("descriptor", eventfd(0, 0) - wake);
    }
    return 1;
}
