/* A hostile program for containers: one static file, many words of mischief. Each tells what it achieved. */
#ifndef PROBE_H
#define PROBE_H

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int word_function(int argc, char **argv);

word_function probe_report, probe_fds, probe_sysctls, probe_calls, probe_devices; /* confinement.c */
word_function probe_join;                                                       /* joiners.c */
word_function probe_swap, probe_daemon, probe_forks, probe_stop, probe_deep, probe_bigdir; /* mischief.c */
word_function probe_leave, probe_find;                                           /* traces.c */
word_function probe_enter;                                                       /* entering.c */
word_function probe_try;                                                         /* attempts.c */
word_function probe_canary;                                                      /* canary.c */
word_function probe_am_root, probe_am_capable;                                   /* credentials.c */
word_function probe_kill_group, probe_kill_all, probe_eat, probe_fill, probe_files, probe_burn, probe_flood; /* hazards.c */

/* Reads up to `size` bytes of a file; the count, or -1. The result ends in NUL. */
long slurp(const char *path, char *buffer, size_t size);

/* Remembers a line once; `say_all` prints all that were remembered, with how often each came. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
void say_all(void);

#endif
