/* The table of words, and what the others share. */
#include "probe.h"

#include <stdarg.h>
#include <signal.h>

static int probe_idle(int argc, char **argv)
{
    (void)argc, (void)argv;
    return 0;
}

static int probe_sleep(int argc, char **argv)
{
    (void)argc, (void)argv;
    while (pause() < 0) {
    }
    return 0;
}

/* show FILES..: their content, read with nothing but open and read. */
static int probe_show(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        char text[65536];
        long length = slurp(argv[i], text, sizeof text);
        if (length < 0) {
            return 1;
        }
        write(1, text, (size_t)length);
    }
    return 0;
}

static const struct word {
    const char *name;
    word_function *run;
} words[] = {
    {"idle", probe_idle}, {"sleep", probe_sleep}, {"report", probe_report}, {"fds", probe_fds},
    {"sysctls", probe_sysctls}, {"calls", probe_calls}, {"devices", probe_devices}, {"join", probe_join},
    {"swap", probe_swap}, {"daemon", probe_daemon}, {"forks", probe_forks}, {"stop", probe_stop},
    {"show", probe_show}, {"deep", probe_deep}, {"bigdir", probe_bigdir}, {"leave", probe_leave},
    {"find", probe_find}, {"try", probe_try}, {"canary", probe_canary}, {"am-root", probe_am_root},
    {"am-capable", probe_am_capable}, {"kill-group", probe_kill_group}, {"kill-all", probe_kill_all},
    {"eat", probe_eat}, {"fill", probe_fill}, {"files", probe_files}, {"burn", probe_burn},
    {"flood", probe_flood}, {"enter", probe_enter},
};

long slurp(const char *path, char *buffer, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return -1;
    }
    size_t done = 0;
    long got;
    while (done < size - 1 && (got = read(fd, buffer + done, size - 1 - done)) > 0) {
        done += (size_t)got;
    }
    close(fd);
    buffer[done] = '\0';
    return (long)done;
}

#define LINES 2048
static struct {
    char *text;
    unsigned long count;
} said[LINES];

void say(const char *format, ...)
{
    char text[2048];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    for (int i = 0; i < LINES; i++) {
        if (said[i].text == NULL) {
            said[i].text = strdup(text);
        }
        if (strcmp(said[i].text, text) == 0) {
            said[i].count++;
            return;
        }
    }
}

void say_all(void)
{
    for (int i = 0; i < LINES && said[i].text != NULL; i++) {
        printf("%lu %s\n", said[i].count, said[i].text);
    }
    fflush(stdout);
}

int main(int argc, char **argv)
{
    for (size_t i = 0; argc > 1 && i < sizeof words / sizeof *words; i++) {
        if (strcmp(argv[1], words[i].name) == 0) {
            return words[i].run(argc - 1, argv + 1);
        }
    }
    fprintf(stderr, "probe: unknown word\n");
    return 2;
}
