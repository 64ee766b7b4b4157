/* The library: loading, registration, what it is lent. */
#define _GNU_SOURCE
#include "host.h"

#include <dlfcn.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define FLB_PROXY_INPUT_PLUGIN 1
#define FLB_PROXY_GOLANG 11

/* struct flb_plugin_proxy_def, v5.1.1 include/fluent-bit/flb_plugin_proxy.h:36;
 * event_type came with v4.2.3, config_map with v5.1.1. */
struct proxy_def {
    int type;
    int proxy;
    int flags;
    char *name;
    char *description;
    int event_type;
    void *config_map;
};

/* struct flb_api, v5.1.1 include/fluent-bit/flb_api.h:27 */
struct api {
    void *output_get_property;
    const char *(*input_get_property)(const char *, void *);
    void *output_get_cmt_instance;
    void *input_get_cmt_instance;
    void (*log_print)(int, const char *, int, const char *, ...);
    int (*input_log_check)(void *, int);
    void *output_log_check;
    void *custom_get_property;
    void *custom_log_check;
};

_Thread_local const char *current_callback;

/* Whether the plugin may ask about ins: between Init and Exit, on a thread of the host's. */
static bool may_ask(const char *function, void *ins)
{
    if (current_callback == NULL) {
        stats_lock()->stray_queries++;
        stats_unlock();
    }
    if (!instance_known(ins)) {
        violation("%s called for an input that is not there", function);
        return false;
    }
    return true;
}

/* Properties of the core's own, which plugins do not get to see: v5.1.1 src/flb_input.c:813. */
static bool is_core_property(const char *key)
{
    static const char *const names[] = {"tag", "log_level", "log_suppress_interval", "routable", "alias",
                                        "mem_buf_limit", "listen", "host", "port", "ipv6", "threaded"};
    static const char *const prefixes[] = {"storage.", "thread.", "tls", "rate_window", "rate_gate", "oauth2", "net."};

    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        if (strcasecmp(key, names[i]) == 0) {
            return true;
        }
    }
    for (size_t i = 0; i < sizeof(prefixes) / sizeof(*prefixes); i++) {
        if (strncasecmp(key, prefixes[i], strlen(prefixes[i])) == 0) {
            return true;
        }
    }
    return false;
}

static const char *input_get_property(const char *key, void *i_ins)
{
    struct instance *ins = i_ins;

    if (!may_ask("input_get_property", ins) || is_core_property(key)) {
        return NULL;
    }
    for (struct property *p = ins->properties; p != NULL; p = p->next) {
        if (strcasecmp(p->key, key) == 0) {
            return p->value[0] == '\0' ? NULL : p->value;
        }
    }
    return NULL;
}

static int input_log_check(void *i_ins, int level)
{
    struct instance *ins = i_ins;

    return may_ask("input_log_check", ins) && ins->log_level >= level;
}

/* As Fluent Bit exports it, v5.1.1 src/flb_input.c:1139. */
const char *flb_input_name(void *i_ins);

const char *flb_input_name(void *i_ins)
{
    struct instance *ins = i_ins;

    if (!may_ask("flb_input_name", ins)) {
        return NULL;
    }
    return instance_name(ins);
}

static int add_segments(struct dl_phdr_info *info, size_t size, void *data)
{
    const struct link_map *library = data;
    uintptr_t from = UINTPTR_MAX, to = 0;

    (void) size;
    if (info->dlpi_addr != library->l_addr || strcmp(info->dlpi_name, library->l_name) != 0) {
        return 0;
    }
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];

        if (segment->p_type == PT_LOAD) {
            uintptr_t begin = info->dlpi_addr + segment->p_vaddr;

            from = begin < from ? begin : from;
            to = begin + segment->p_memsz > to ? begin + segment->p_memsz : to;
        }
    }
    memory_watch(from, to);
    return 1;
}

/* Reads a function pointer without the cast that ISO C does not know. */
#define LOOK_UP(proxy, field, symbol) (*(void **) &(proxy)->callbacks.field = dlsym((proxy)->handle, symbol))

/* Which symbols are looked up: v5.1.1 src/proxy/go/go.c:173, v3.0.0 src/proxy/go/go.c:166. */
static bool look_up(struct proxy *proxy)
{
    if (LOOK_UP(proxy, init, "FLBPluginInit") == NULL) {
        say(LOG_ERROR, "[go proxy]: could not load FLBPluginInit symbol");
        return false;
    }
    LOOK_UP(proxy, collect, "FLBPluginInputCallback");
    LOOK_UP(proxy, cleanup, "FLBPluginInputCleanupCallback");
    LOOK_UP(proxy, pre_run, "FLBPluginInputPreRun");
    LOOK_UP(proxy, pause, "FLBPluginInputPause");
    LOOK_UP(proxy, resume, "FLBPluginInputResume");
    LOOK_UP(proxy, pre_exit, "FLBPluginInputPreExit");
    LOOK_UP(proxy, exit, "FLBPluginExit");
    if (options.context_size == 24) {
        LOOK_UP(proxy, collect_ctx, "FLBPluginInputCallbackCtx");
        LOOK_UP(proxy, cleanup_ctx, "FLBPluginInputCleanupCallbackCtx");
    }
    if (proxy->callbacks.collect == NULL && proxy->callbacks.collect_ctx == NULL) {
        say(LOG_ERROR, "[test-host] no FLBPluginInputCallback symbol");
        return false;
    }
    return true;
}

/* v5.1.1 src/flb_plugin_proxy.c:480 */
static bool proxy_register(struct proxy *proxy, bool hot_reload)
{
    struct proxy_def *def = lent_address(&proxy->def);
    struct go_plugin *plugin = lent_address(&proxy->plugin);
    int (*pre_register)(int);
    int (*do_register)(void *);

    *(void **) &pre_register = dlsym(proxy->handle, "FLBPluginPreRegister");
    if (pre_register != NULL) {
        int ret;

        current_callback = "FLBPluginPreRegister";
        ret = pre_register(hot_reload);
        proxy_check(proxy, NULL, current_callback);
        current_callback = NULL;
        if (ret == -1) {
            return false;
        }
    }
    *(void **) &do_register = dlsym(proxy->handle, "FLBPluginRegister");
    if (do_register == NULL) {
        say(LOG_ERROR, "[test-host] no FLBPluginRegister symbol");
        return false;
    }
    current_callback = "FLBPluginRegister";
    if (do_register(def) == -1) {
        return false;
    }
    /* type, proxy, flags, name and description are the plugin's to write */
    lent_check(&proxy->def, current_callback, 0, offsetof(struct proxy_def, event_type));
    proxy_check(proxy, NULL, current_callback);
    current_callback = NULL;
    if (def->type != FLB_PROXY_INPUT_PLUGIN || def->proxy != FLB_PROXY_GOLANG) {
        say(LOG_ERROR, "[test-host] registered as type %d, proxy %d: not a Go input", def->type, def->proxy);
        return false;
    }
    plugin->name = strdup(def->name);
    lent_commit(&proxy->plugin);
    return look_up(proxy);
}

struct proxy *proxy_load(const char *path, bool hot_reload)
{
    struct proxy *proxy = calloc(1, sizeof(*proxy));
    struct link_map *library;
    struct api *api;
    struct proxy_def *def;

    proxy->handle = dlopen(path, RTLD_LAZY);
    if (proxy->handle == NULL) {
        say(LOG_ERROR, "[proxy] error opening plugin %s: '%s'", path, dlerror());
        free(proxy);
        return NULL;
    }
    if (dlinfo(proxy->handle, RTLD_DI_LINKMAP, &library) == 0) {
        dl_iterate_phdr(add_segments, library);
    }
    api = lend(&proxy->api, "flb_api", sizeof(*api), true);
    api->input_get_property = input_get_property;
    api->log_print = log_print;
    api->input_log_check = input_log_check;
    lent_commit(&proxy->api);
    lend(&proxy->plugin, "flbgo_input_plugin", sizeof(struct go_plugin), false);
    def = lend(&proxy->def, "flb_plugin_proxy_def", options.def_size, options.def_zeroed);
    def->type = 0;
    lent_commit(&proxy->def);

    if (!proxy_register(proxy, hot_reload)) {
        say(LOG_ERROR, "[test-host] %s could not be registered", path);
        return NULL;
    }
    return proxy;
}

void proxy_check(struct proxy *proxy, struct instance *ins, const char *callback)
{
    lent_check(&proxy->def, callback, 0, 0);
    lent_check(&proxy->api, callback, 0, 0);
    lent_check(&proxy->plugin, callback, 0, 0);
    if (ins != NULL) {
        lent_check(&ins->context, callback, 0, 0);
    }
}

/* v5.1.1 src/proxy/go/go.c:215 */
int proxy_init(struct proxy *proxy, struct instance *ins)
{
    struct go_plugin *plugin = lent_address(&proxy->plugin);
    int ret;

    proxy->last_initialised = ins;
    plugin->api = lent_address(&proxy->api);
    plugin->i_ins = ins;
    plugin->context = lent_address(&ins->context);
    lent_commit(&proxy->plugin);

    current_callback = "FLBPluginInit";
    ret = proxy->callbacks.init(plugin);
    if (options.context_size == 24) {
        lent_check(&ins->context, current_callback, 8, 16); /* remote_context */
    }
    proxy_check(proxy, ins, current_callback);
    current_callback = NULL;
    if (ret <= 0) {
        say(LOG_ERROR, "[go proxy]: plugin '%s' failed to initialize", plugin->name);
    }
    return ret;
}

/* v5.1.1 src/flb_plugin_proxy.c:276 */
void proxy_unload(struct proxy *proxy)
{
    struct go_plugin *plugin = lent_address(&proxy->plugin);
    void (*unregister)(void *);

    *(void **) &unregister = dlsym(proxy->handle, "FLBPluginUnregister");
    if (unregister != NULL) {
        current_callback = "FLBPluginUnregister";
        unregister(lent_address(&proxy->def));
        lent_check(&proxy->def, current_callback, 0, offsetof(struct proxy_def, event_type));
        proxy_check(proxy, NULL, current_callback);
        current_callback = NULL;
    }
    free(plugin->name);
    lent_free(&proxy->def);
    lent_free(&proxy->api);
    lent_free(&proxy->plugin);
    dlclose(proxy->handle);
    free(proxy);
}
