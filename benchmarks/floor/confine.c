/* From a finished tree to execve: directory, keyring, capabilities, ids, signals, descriptors, filter. */
#define _GNU_SOURCE
#include "floor.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/keyctl.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static void limit_capabilities(const struct floor *floor)
{
    for (unsigned int cap = 0; cap <= floor->last_capability; cap++) {
        if ((floor->capabilities & (1ULL << cap)) == 0) {
            must(prctl(PR_CAPBSET_DROP, cap), "PR_CAPBSET_DROP");
        }
    }
    must(prctl(PR_SET_KEEPCAPS, 1), "PR_SET_KEEPCAPS");
    gid_t group = 0;
    SYS(setgroups, 1, &group);
    SYS(setresgid, 0, 0, 0);
    SYS(setresuid, 0, 0, 0);
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    for (unsigned int half = 0; half < 2; half++) {
        data[half].permitted = data[half].effective = (uint32_t)(floor->capabilities >> (32 * half));
        data[half].inheritable = 0;
    }
    SYS(capset, &header, data);
    must(prctl(PR_SET_KEEPCAPS, 0), "PR_SET_KEEPCAPS");
    must(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), "PR_CAP_AMBIENT");
    must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS");
}

/* CLONE_CLEAR_SIGHAND has reset the handlers; what is ignored stays ignored unless somebody looks. */
static void reset_signals(void)
{
    struct {
        void *handler;
        unsigned long flags;
        void *restorer;
        uint64_t mask;
    } now, plain = {0};
    for (int number = 1; number <= 64; number++) {
        SYS(rt_sigaction, number, NULL, &now, 8);
        if (now.handler != NULL) {
            SYS(rt_sigaction, number, &plain, NULL, 8);
        }
    }
}

static void place_descriptors(struct streams *streams)
{
    for (int i = 0; i < 4; i++) {
        if (streams->child[i] < 4) {
            streams->child[i] = (int)must(fcntl(streams->child[i], F_DUPFD_CLOEXEC, 4), "fcntl");
        }
    }
    SYS(close_range, 0, ~0U, CLOSE_RANGE_CLOEXEC);
    for (int i = 0; i < 4; i++) {
        must(dup3(streams->child[i], i, 0), "dup3");
    }
}

_Noreturn void confine(const struct floor *floor, struct streams *streams)
{
    char directory[4096];
    must(chdir("/"), "chdir");
    SYS(getcwd, directory, sizeof directory);
    SYS(keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
    umask(022);
    limit_capabilities(floor);
    reset_signals();
    place_descriptors(streams);
    if (floor->filter.len > 0) {
        SYS(seccomp, SECCOMP_SET_MODE_FILTER, 0, &floor->filter);
    }
    uint64_t none = 0;
    SYS(rt_sigprocmask, SIG_SETMASK, &none, NULL, 8);
    const char *arguments[MOST + 2] = {"step"};
    for (size_t i = 0; i < floor->programs.count; i++) {
        arguments[i + 1] = floor->programs.items[i];
    }
    SYS(execveat, floor->step, "", arguments, floor->environment.items, AT_EMPTY_PATH);
    _exit(1);
}
