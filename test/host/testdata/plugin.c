/*
 * A Fluent Bit input in C that logs each call, and gives one event per callback.
 * MISBEHAVE in the environment names one thing that it does wrong, EVENT (hex) is
 * what it gives instead of its good event.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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

static struct api *api;
static void *last_ins;
static int token; /* its address is the remote context */

static int misbehave(const char *how)
{
    const char *chosen = getenv("MISBEHAVE");

    return chosen != NULL && strcmp(chosen, how) == 0;
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
    if (p->context->remote_context == NULL || misbehave("write to proxy")) {
        p->context->remote_context = &token;
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
    pthread_t thread;

    if (misbehave("log from a thread") && pthread_create(&thread, NULL, log_from_thread, NULL) == 0) {
        pthread_join(thread, NULL);
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
}

void FLBPluginInputResume(void)
{
    note("Resume", 0);
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
    return 1;
}
