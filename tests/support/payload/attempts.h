/*
 * Attempts to get at what is not the program's own. Each is a function that ends by saying what came of it; it runs
 * in a child of its own, so that one that is killed, or kills, is no trouble for the next.
 *
 * Whatever an attempt gets, it does no harm with it: files are opened and not written, privileged calls get
 * arguments that the kernel refuses after it has asked for the privilege, and what has to be changed is changed in
 * namespaces made for it (`narrow`). So the same program may run on a host unconfined.
 */
#ifndef ATTEMPTS_H
#define ATTEMPTS_H

#include "probe.h"

#include <sys/syscall.h>

struct attempt {
    const char *name;
    void (*run)(void);
};

/* Tables of names, each closed by {NULL}. */
extern const struct attempt kernel_files[], host_things[], privileged_calls[], calls_of_all[], other_entries[];
extern const struct attempt socket_families[], namespaces[], mounts[], processes[], credentials[], terminals[], devices[];

_Noreturn void reached(const char *format, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void refused(int error);
_Noreturn void absent(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A call's answer: reached when it is no error, absent when the error says that there is no such thing. */
_Noreturn void judge(long answer);
/* The same for a call that cannot succeed: `proof` is the error that comes after the privilege was asked for. */
_Noreturn void judge_by(long answer, int proof);

/* The value of the word NAME=VALUE of the command line; `needed` makes the attempt absent without it. */
const char *given(const char *name);
const char *needed(const char *name);

/* Enters new namespaces, so that what follows changes nothing that others see. Goes on if that is refused, but not on a host. */
void narrow(int flags);
/* An empty directory, on a tmpfs of the attempt's own where that is narrowed to its own mounts. To be left empty. */
const char *scratch(void);

/* Opens a file, and says what came of it. */
_Noreturn void try_open(const char *path, int flags);

/* Called before anything is opened. */
void remember_inherited_fds(void);

#endif
