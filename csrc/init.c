/*
 * What stands between the host's process and a program of a container: its PID 1, or only a step on the way.
 *
 *   init                                                     holds its namespaces open until SIGTERM; reaps
 *   init REPORT N PATH_1 .. PATH_N -- ARG0 ARG1 ..           runs the first path that can be executed
 *   init become REPORT N PATH_1 .. PATH_N -- ARG0 ARG1 ..    becomes it
 *   init [become] await CHANNEL                              the same, told later; see order.c
 *
 * REPORT is an fd.  The reader of its other end gets an int, the errno of the failure or 0; or end of file
 * once the program was executed.
 *
 * become: who executes is /proc/self/exe for what is executed, be it a path, a script's interpreter or that of
 * an ELF file.  The host's process would be its own interpreter there, a file of the host (CVE-2019-5736); this
 * is a sealed memfd.
 *
 * PID 1: starts the program, forwards signals to it, reaps every zombie, ends as it ends.
 *
 *   init                                   program
 *   ----                                   -------
 *   non-dumpable, fds closed,
 *   all signals blocked
 *   clone(VM|VFORK) ---------------------> own process group, foreground of the terminal
 *     (asleep)                             signals as at boot, execve of each path in turn
 *     <--- wakes ------------------------- executed: REPORT closes | failed: errno, exits 126 or 127
 *   closes all fds
 *   waits for signals: forwards, reaps
 *   exits with its status, or 128 + signal
 *
 * It keeps no fd, no environment use, no file: what the program can see of it through /proc/1 is nothing,
 * as it is not dumpable (proc(5)).
 */
#include "freestanding.h"
#include "order.h"

#include <asm/ioctls.h>
#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/signal.h>
#include <linux/wait.h>

enum {
    EXIT_USAGE = 125,         /* as Docker: the fault is not the program's */
    EXIT_NOT_EXECUTABLE = 126, /* as a shell */
    EXIT_NOT_FOUND = 127,
    LAST_SIGNAL = 64,
    MAX_FD = 1 << 30,
    STACK = 4096,
};

static const uint64_t ALL_SIGNALS = ~UINT64_C(0);

static void set_mask(uint64_t mask)
{
    pc_raw4(__NR_rt_sigprocmask, SIG_SETMASK, pc_pointer(&mask), 0, sizeof mask);
}

/* Every disposition to the default: an inherited SIG_IGN would go on to the program through execve. */
static void reset_signals(void)
{
    /* Zero is SIG_DFL without flags in the kernel's struct sigaction of both machines: four words. */
    const uint64_t by_default[4] = {0};
    for (int signal = 1; signal <= LAST_SIGNAL; signal++) {
        pc_raw4(__NR_rt_sigaction, signal, pc_pointer(by_default), 0, sizeof(uint64_t));
    }
}

static void report(int fd, long error)
{
    int number = (int)-error;
    pc_raw3(__NR_write, fd, pc_pointer(&number), sizeof number);
}

/* An own group, so that a signal of the terminal reaches the program and not init. */
static long enter_foreground(void)
{
    long ret = pc_raw2(__NR_setpgid, 0, 0);
    if (ret < 0) {
        return ret;
    }
    /* SIGTTOU is blocked here; otherwise a background group that does this is stopped (tty_ioctl(4)). */
    int group = (int)pc_raw0(__NR_getpid);
    ret = pc_raw3(__NR_ioctl, 0, TIOCSPGRP, pc_pointer(&group));
    /* fd 0 is not open, not a terminal, or not the controlling one. */
    return ret == -EBADF || ret == -ENOTTY ? 0 : ret;
}

/* As execvp(3), but that no shell is tried for ENOEXEC: only "not there" leads on without a trace. */
static long execute(const struct pc_start *start)
{
    long denied = 0;
    for (long i = 0; i < start->path_count; i++) {
        long ret = pc_raw3(__NR_execve, pc_pointer(start->paths[i]), pc_pointer(start->argv),
                           pc_pointer(start->envp));
        if (ret == -EACCES) {
            denied = ret;
        } else if (ret != -ENOENT && ret != -ENOTDIR && ret != -ENAMETOOLONG) {
            return ret;
        }
    }
    return denied < 0 ? denied : -ENOENT;
}

/* The program's process until execve; shares init's memory and changes none of it. */
static int run_program(void *argument)
{
    const struct pc_start *start = argument;
    long ret = enter_foreground();
    if (ret == 0) {
        set_mask(0);
        ret = execute(start);
    }
    report(start->report, ret);
    return ret == -ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE;
}

/* Reaps all that have ended. True, with the status init exits with, when the program was among them. */
static bool reap(long program, int *exit_status)
{
    bool ended = false;
    for (;;) {
        int status = 0;
        long pid = pc_raw4(__NR_wait4, -1, pc_pointer(&status), WNOHANG | __WALL, 0);
        if (pid <= 0) {
            return ended;
        }
        if (pid == program) {
            int signal = status & 0x7f; /* wait(2): the low bits are the signal, the next byte the status */
            *exit_status = signal != 0 ? 128 + signal : (status >> 8) & 0xff;
            ended = true;
        }
    }
}

/*
 * Forwards and reaps until the program ends (program 0: until SIGTERM).  Signals that the kernel raises for a
 * fault of init's own kill it although they are blocked; those that somebody sends are for the program.
 */
static int serve(long program)
{
    for (;;) {
        long signal = pc_raw4(__NR_rt_sigtimedwait, pc_pointer(&ALL_SIGNALS), 0, 0, sizeof ALL_SIGNALS);
        int exit_status = 0;
        switch (signal) {
        case -EINTR:
            continue;
        case SIGCHLD:
            if (reap(program, &exit_status)) {
                return exit_status;
            }
            continue;
        case SIGTTIN: /* about init's own place in the background of the terminal */
        case SIGTTOU:
            continue;
        default:
            if (signal < 0) {
                return EXIT_USAGE; /* a filter denies the call: better an end than a busy loop */
            }
            if (program == 0 && signal == SIGTERM) {
                return 0;
            }
            if (program != 0) {
                /* It cannot have gone, it is not reaped yet; EPERM leaves nothing to do. */
                pc_raw2(__NR_kill, program, signal);
            }
        }
    }
}

static long prepare(bool hidden)
{
    set_mask(ALL_SIGNALS);
    reset_signals();
    /* First of all that could matter: from here on no process of the container can open /proc/1/. */
    long ret = hidden ? pc_raw5(__NR_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0) : 0;
    if (ret == 0 && pc_raw0(__NR_getpid) != 1) {
        ret = pc_raw5(__NR_prctl, PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    }
    pc_raw5(__NR_prctl, PR_SET_NAME, pc_pointer("init"), 0, 0, 0); /* after an exec by fd it is a number */
    return ret;
}

static int hold(void)
{
    /* Not PID 1, but there for its id maps to be written: a user who does that must own its files in /proc. */
    bool hidden = pc_raw0(__NR_getpid) == 1;
    if (prepare(hidden) < 0) {
        return EXIT_USAGE;
    }
    pc_close_all(0, ~0U);
    return serve(0);
}

static int become(const struct pc_start *start)
{
    /* Else programs of the container could take REPORT from here, and keep it open. Their filter may deny this call. */
    pc_raw5(__NR_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
    long ret = pc_raw3(__NR_fcntl, start->report, F_SETFD, FD_CLOEXEC);
    if (ret == 0) {
        ret = execute(start);
    }
    report(start->report, ret);
    return ret == -ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE;
}

static int run(const struct pc_start *start)
{
    unsigned fd = (unsigned)start->report;
    long ret = prepare(true);
    if (ret == 0) {
        ret = pc_raw3(__NR_fcntl, fd, F_SETFD, FD_CLOEXEC);
    }
    if (ret == 0) {
        /* What is below was handed over for the program. */
        pc_close_all(fd + 1, ~0U);
        char stack[STACK] __attribute__((aligned(16)));
        ret = pc_clone_call(CLONE_VM | CLONE_VFORK | SIGCHLD, stack + sizeof stack, run_program,
                            (void *)(uintptr_t)start);
    }
    if (ret < 0) {
        report(start->report, ret);
        return EXIT_NOT_EXECUTABLE;
    }
    /* Said, and not only shown by the end of file: the program may have a copy of REPORT by now. */
    report(start->report, 0);
    /* Pipes and terminals that the program closes must not stay open through init. */
    pc_close_all(0, ~0U);
    pc_raw1(__NR_chdir, pc_pointer("/")); /* a volume that was the working directory can be unmounted */
    return serve(ret);
}

/* Ends like a program that has done its work when nobody is there any more to tell what it is to do. */
static int await_order(const char *number, bool alone)
{
    struct pc_start start;
    int channel = (int)pc_parse(number, MAX_FD);
    if (channel < 3) {
        return EXIT_USAGE;
    }
    long ret = alone ? pc_raw5(__NR_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0) : prepare(true);
    if (ret < 0 && !alone) {
        report(channel, ret);
        return EXIT_USAGE;
    }
    if (!pc_await_order(channel, &start)) {
        return 0;
    }
    return alone ? become(&start) : run(&start);
}

int pc_main(int argc, char **argv, char **envp)
{
    if (argc <= 1) {
        return hold();
    }
    bool alone = pc_equal(argv[1], "become");
    if (alone) {
        argc--;
        argv++;
    }
    if (argc <= 1) {
        return EXIT_USAGE;
    }
    if (argc == 3 && pc_equal(argv[1], "await")) {
        return await_order(argv[2], alone);
    }
    struct pc_start start = {.envp = envp, .report = (int)pc_parse(argv[1], MAX_FD)};
    if (start.report < 3) {
        return EXIT_USAGE;
    }
    start.path_count = argc < 5 ? -1 : pc_parse(argv[2], argc - 5);
    if (start.path_count < 0 || !pc_equal(argv[3 + start.path_count], "--")) {
        report(start.report, -EINVAL);
        return EXIT_USAGE;
    }
    start.paths = argv + 3;
    start.argv = start.paths + start.path_count + 1;
    return alone ? become(&start) : run(&start);
}
