/* Commands: lines on standard input. */
#define _GNU_SOURCE
#include "host.h"

#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static char pending[4096];
static size_t used;
static bool ended;

bool commands_read(void)
{
    ssize_t n;

    if (used == sizeof(pending)) {
        used = 0; /* no command is that long */
    }
    n = read(STDIN_FILENO, pending + used, sizeof(pending) - used);
    ended = n <= 0;
    used += ended ? 0 : n;
    return !ended;
}

/* take copies the line that begins at from, and drops it. */
static void take(size_t from, size_t length, char *line, size_t room)
{
    snprintf(line, room, "%.*s", (int) length, pending + from);
    used -= length + 1;
    memmove(pending + from, pending + from + length + 1, used - from);
}

bool commands_next(char *line, size_t room)
{
    char *newline = memchr(pending, '\n', used);

    if (newline != NULL) {
        take(0, newline - pending, line, room);
    }
    return newline != NULL;
}

/* Every line "stats" is taken, the others stay in their order. */
static void answer_stats(void)
{
    size_t from = 0;
    char *newline;

    while ((newline = memchr(pending + from, '\n', used - from)) != NULL) {
        size_t length = newline - (pending + from);
        char line[16];

        if (length == strlen("stats") && memcmp(pending + from, "stats", length) == 0) {
            take(from, length, line, sizeof(line));
            stats_print(stdout);
        } else {
            from += length + 1;
        }
    }
}

void commands_wait(long long ns)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    long long end = now_ns() + ns, left;

    if (ns > 0) {
        answer_stats();
    }
    for (; (left = end - now_ns()) > 0; answer_stats()) {
        struct timespec wait = {left / 1000000000, left % 1000000000};

        if (ppoll(&input, !ended, &wait, NULL) == 1) {
            commands_read();
        }
    }
}
