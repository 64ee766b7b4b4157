/*
 * What Fluent Bit lends an input plugin of its Go proxy, as far as this plugin
 * uses it. Only fields that keep their offset from v3.0.0 to v5.1.1 are named.
 * Struct names differ from the host's so that they cannot clash with other headers.
 */
#ifndef OFFICE365_HOST_H
#define OFFICE365_HOST_H

#include <stddef.h>
#include <stdint.h>

/* FLB_LOG_*, include/fluent-bit/flb_log.h:40 (v5.1.1) */
enum {
    HOST_LOG_ERROR = 1,
    HOST_LOG_WARN = 2,
    HOST_LOG_INFO = 3,
    HOST_LOG_DEBUG = 4,
    HOST_LOG_TRACE = 5
};

/* struct flb_api, include/fluent-bit/flb_api.h:27 (v5.1.1), :26 (v3.0.0) */
struct host_api {
    void *output_get_property;
    const char *(*input_get_property)(const char *key, void *i_ins);
    void *output_get_cmt_instance;
    void *input_get_cmt_instance;
    void (*log_print)(int level, const char *file, int line, const char *format, ...);
    int (*input_log_check)(void *i_ins, int level);
};

/*
 * The context of an input instance. Since v4.1.0 it is
 *     struct flb_plugin_input_proxy_context { int coll_fd; void *remote_context; proxy * }
 * (include/fluent-bit/flb_plugin_proxy.h:68, v5.1.1), zeroed but for proxy
 * (src/flb_input.c:467). Before, Init is given
 *     struct flb_plugin_proxy_context { void *remote_context; proxy * }
 * (src/flb_input.c:227, v3.0.0), so the slot at offset 8 is free for the plugin
 * exactly when it is NULL.
 */
struct host_context {
    uint64_t unused;
    void *remote_context_or_proxy;
};

/*
 * struct flbgo_input_plugin, src/proxy/go/go.h:37 (v5.1.1). One per library, not
 * per instance: i_ins and context are those of the instance being initialised
 * and change with the next (src/proxy/go/go.c:215).
 */
struct host_plugin {
    char *name;
    struct host_api *api;
    void *i_ins;
    struct host_context *context;
};

/* Alias or name of an input, src/flb_input.c:1139 (v5.1.1). Not part of the
 * plugin API: the executable exports it, another host may not. */
extern const char *flb_input_name(void *i_ins) __attribute__((weak));

static inline const char *host_input_name(void *i_ins)
{
    return flb_input_name != NULL ? flb_input_name(i_ins) : NULL;
}

/* host_set_context stores the handle where the host returns it with the ...Ctx
 * callbacks, and says whether there was such a place. */
static inline int host_set_context(struct host_plugin *plugin, uintptr_t handle)
{
    struct host_context *context = plugin->context;

    if (context == NULL || context->remote_context_or_proxy != NULL) {
        return 0;
    }
    context->remote_context_or_proxy = (void *) handle;
    return 1;
}

/* host_log_level is the finest level the instance logs at, 0 for none. */
static inline int host_log_level(struct host_api *api, void *i_ins)
{
    int level = HOST_LOG_TRACE;

    while (level > 0 && !api->input_log_check(i_ins, level)) {
        level--;
    }
    return level;
}

/* Go cannot call a variadic function. */
static inline void host_log(struct host_api *api, int level, const char *text)
{
    api->log_print(level, NULL, 0, "%s", text);
}

#endif
