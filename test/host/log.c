/* Log lines as Fluent Bit prints them. */
#include "host.h"

#include <string.h>
#include <strings.h>
#include <time.h>

/* Room for a line with its header: v5.1.1 src/flb_log.c:54 */
#define LOG_LINE (4096 - sizeof(size_t))

static const char *const titles[] = {"?", "error", " warn", " info", "debug", "trace"};

int log_level_of(const char *name)
{
    static const char *const names[] = {"off", "error", "warn", "info", "debug", "trace"};

    for (int level = LOG_ERROR; level <= LOG_TRACE; level++) {
        if (strcasecmp(name, names[level]) == 0) {
            return level;
        }
    }
    return 0;
}

static void print(int level, const char *format, va_list args)
{
    char line[LOG_LINE];
    struct timespec now;
    struct tm local;
    size_t used;

    clock_gettime(CLOCK_REALTIME, &now);
    localtime_r(&now.tv_sec, &local);
    used = strftime(line, sizeof(line), "[%Y/%m/%d %H:%M:%S", &local);
    used += snprintf(line + used, sizeof(line) - used, ".%09ld] [%s] ", now.tv_nsec,
                     titles[level >= LOG_ERROR && level <= LOG_TRACE ? level : 0]);
    vsnprintf(line + used, sizeof(line) - used, format, args);
    fprintf(stderr, "%s\n", line);
}

/* The log_print that plugins are given: does not filter (v5.1.1 src/flb_log.c:1206). */
void log_print(int level, const char *file, int line, const char *format, ...)
{
    va_list args;

    (void) file;
    (void) line;
    if (current_callback == NULL) {
        stats_lock()->stray_log_lines++;
        stats_unlock();
    }
    va_start(args, format);
    print(level, format, args);
    va_end(args);
}

void say(int level, const char *format, ...)
{
    va_list args;

    if (level > options.log_level) {
        return;
    }
    va_start(args, format);
    print(level, format, args);
    va_end(args);
}
