/*
 * What Fluent Bit's executable exports besides its plugin API, and a native input
 * hands over by: the same from v3.0.0 to v5.1.1. A program built with
 * -DWITHOUT_HANDOVER has none of it, one with -DWITHOUT_COUNT no metrics.
 */
#include "host.h"

#include <stdlib.h>
#include <string.h>

#ifndef WITHOUT_HANDOVER

/* Came with v3.2.0, as the count in front of the filters did; nobody calls it. */
void flb_notification_enqueue(void);

void flb_notification_enqueue(void)
{
}

/* Fluent Bit itself checks none of this. */
static bool on_its_thread(const char *function, struct instance *ins)
{
    if (!instance_known(ins)) {
        violation("%s called for an input that is not there", function);
        return false;
    }
    if (current_instance != ins) {
        violation("%s called for %s on another thread", function, ins->name);
        return false;
    }
    return true;
}

int flb_input_log_append(void *ins, const char *tag, size_t tag_len, const void *data, size_t size);

/* v5.1.1 src/flb_input_log.c:1608 */
int flb_input_log_append(void *ins, const char *tag, size_t tag_len, const void *data, size_t size)
{
    struct stats *stats;
    int ret = -1;

    (void) tag;
    (void) tag_len;
    if (on_its_thread("flb_input_log_append", ins) && size > 0 && !conditions.append_fails) {
        ret = ring_append(ins, data, size);
    }
    stats = stats_lock();
    if (ret == 0) {
        stats->appended++;
    } else {
        stats->append_failures++;
    }
    stats_unlock();
    return ret;
}

int flb_input_set_collector_event(void *ins, event_callback *call, int fd, void *config);

/* v5.1.1 src/flb_input.c:2276. In Init, as the collectors are started once, after it. */
int flb_input_set_collector_event(void *ins, event_callback *call, int fd, void *config)
{
    (void) config; /* of no use to a threaded input: v5.1.1 src/flb_input.c:2233 */
    if (!on_its_thread("flb_input_set_collector_event", ins)) {
        return -1;
    }
    if (strcmp(current_callback, "FLBPluginInit") != 0) {
        violation("flb_input_set_collector_event called in %s", current_callback);
        return -1;
    }
    return collector_new(ins, call, fd);
}

int flb_input_collector_pause(int id, void *ins);

int flb_input_collector_pause(int id, void *ins)
{
    return on_its_thread("flb_input_collector_pause", ins) ? collector_pause(ins, id) : -1;
}

int flb_input_collector_resume(int id, void *ins);

int flb_input_collector_resume(int id, void *ins)
{
    return on_its_thread("flb_input_collector_resume", ins) ? collector_resume(ins, id) : -1;
}

#ifndef WITHOUT_COUNT

/* Most of a line of the text, but for the input's name. */
#define LINE 256

/* Lent is the address of buf: v5.1.1 lib/cfl/include/cfl/cfl_sds.h:39. */
struct cfl_sds {
    uint64_t length, room;
    char buf[];
};

void *flb_input_get_cmt_instance(void *ins);

/* v5.1.1 src/flb_input.c:1132 */
void *flb_input_get_cmt_instance(void *i_ins)
{
    struct instance *ins = i_ins;

    if (!instance_known(ins)) {
        violation("flb_input_get_cmt_instance called for an input that is not there");
        return NULL;
    }
    return &ins->metrics;
}

char *cmt_encode_text_create(void *cmt);

/* On any thread, as the values are atomic and nothing else changes after Init. */
char *cmt_encode_text_create(void *cmt)
{
    struct metrics *metrics = cmt;
    struct cfl_sds *sds;
    size_t room;

    if (!instance_known((char *) cmt - offsetof(struct instance, metrics))) {
        violation("cmt_encode_text_create called for an input that is not there");
        return NULL;
    }
    room = METRICS * (LINE + strlen(metrics->input));
    sds = malloc(sizeof(*sds) + room);
    sds->room = room;
    sds->length = metrics_text(metrics, sds->buf, room);
    memory_lend(sds, sizeof(*sds) + room);
    return sds->buf;
}

void cmt_encode_text_destroy(char *text);

void cmt_encode_text_destroy(char *text)
{
    if (text != NULL) {
        free(text - offsetof(struct cfl_sds, buf));
    }
}

#endif
#endif
