/*
 * The leash: one small process beside a host process, that ends what the host leaves when it dies.
 *
 *   reaper                      fd 3: its end of the socket of reaper_protocol.h; fd 4: a pidfd of the host
 *   reaper remove NAME [USERNS] removes NAME in the directory fd 3 (USERNS: an fd), exits with 0 or 1
 *
 * The host's death is seen by its pidfd: end of file on the socket alone would not do, as a forked child of the
 * host has a copy of the other end.  End of file is the host letting go on purpose, with the same consequences.
 *
 *   guard    take registrations, forget processes that end
 *   collect  kill; take, and kill, what was sent and what containers that are being set up still send: they
 *            hold a copy of the socket until their execve.  Until end of file, or two seconds of silence
 *   finish   wait until the killed are gone; cgroups; trees; exit, which closes the locks
 *
 * Exit status: 0 all done, 1 something could not be removed, 2 it could not begin.
 */
#include "beside.h"
#include "cgroups.h"
#include "registry.h"
#include "tree.h"

#include <linux/errno.h>
#include <linux/eventpoll.h>
#include <linux/fcntl.h>
#include <signal.h>

enum {
    EXIT_INCOMPLETE = 1,
    EXIT_USAGE = 2,
    EVENTS = 64,
    SILENCE = 2000,       /* milliseconds after which nobody is expected to send any more */
    COLLECTION = 10000,   /* milliseconds until senders that never fall silent are shut out */
    DEATH = 10000,        /* milliseconds that the killed have to be gone */
    MAX_RESERVE = 1024,   /* fds kept free for messages that are on their way when the limit comes near */
};

/* Where an event comes from; below these: a position in the registry. */
enum { FROM_SOCKET = 0x7ffffffe, FROM_HOST = 0x7fffffff };

struct reaper {
    int epoll;
    bool host_died;
    bool let_go;    /* end of file */
    bool closed;    /* takes no more registrations */
    bool ending;    /* what is registered now is killed at once */
    uint64_t fd_limit;
    struct pc_registry registry;
};

static long watch(const struct reaper *reaper, int fd, uint32_t source)
{
    struct epoll_event event = {.events = EPOLLIN, .data = source};
    return pc_raw4(__NR_epoll_ctl, reaper->epoll, EPOLL_CTL_ADD, fd, pc_pointer(&event));
}

/* Closing is not enough: the host, or another copy, keeps the same open file alive (epoll(7)). */
static void unwatch(const struct reaper *reaper, int fd)
{
    pc_raw4(__NR_epoll_ctl, reaper->epoll, EPOLL_CTL_DEL, fd, 0);
}

static void drop(struct reaper *reaper, uint32_t position)
{
    const struct pc_registration *registration = &reaper->registry.table[position];
    if (registration->type == PC_REAPER_PROCESS) {
        unwatch(reaper, registration->fds[0]);
    }
    pc_registry_drop(&reaper->registry, position);
}

/* The host sees it, and starts another reaper. What is queued is still taken. */
static void close_intake(struct reaper *reaper)
{
    if (!reaper->closed) {
        reaper->closed = true;
        pc_raw2(__NR_shutdown, SOCKET_FD, SHUT_RDWR);
    }
}

static void kill_registered(const struct pc_registration *registration)
{
    if (registration->type == PC_REAPER_PROCESS) {
        pc_raw4(__NR_pidfd_send_signal, registration->fds[0], SIGKILL, 0, 0);
    } else if (registration->type == PC_REAPER_CGROUP) {
        for (uint32_t i = 0; i < registration->fd_count; i++) {
            pc_cgroup_kill(registration->fds[i], registration->name);
        }
    }
}

static bool is_name(const char *name)
{
    size_t length = 0;
    const size_t limit = sizeof((struct pc_reaper_message *)0)->name;
    while (length < limit && name[length] != '\0') {
        if (name[length++] == '/') {
            return false;
        }
    }
    return length > 0 && length < limit && !pc_equal(name, ".") && !pc_equal(name, "..");
}

static bool is_valid(const struct pc_reaper_message *message, const int *fds, uint32_t fd_count)
{
    const uint32_t lock = message->flags & PC_REAPER_LOCK, userns = message->flags & PC_REAPER_USERNS;
    switch (message->type) {
    case PC_REAPER_PROCESS:
        if (message->flags != 0 || fd_count != 1) {
            return false;
        }
        /* Signal 0 finds out now whether this is a pidfd, and one that we may kill. */
        long ret = pc_raw4(__NR_pidfd_send_signal, fds[0], 0, 0, 0);
        return ret == 0 || ret == -ESRCH;
    case PC_REAPER_TREE:
        return message->flags == (lock | userns) && is_name(message->name) &&
               fd_count == 1U + (lock != 0) + (userns != 0);
    case PC_REAPER_CGROUP:
        return message->flags == 0 && is_name(message->name) && fd_count >= 1;
    case PC_REAPER_FORGET:
        return message->flags == 0 && fd_count == 0;
    default:
        return false;
    }
}

static void forget(struct reaper *reaper, uint64_t id)
{
    uint32_t position = pc_registry_find(&reaper->registry, id);
    while (position != PC_NOWHERE) {
        drop(reaper, position);
        position = pc_registry_find(&reaper->registry, id);
    }
}

/* 0, or -errno: then the fds are still the caller's. */
static long keep(struct reaper *reaper, const struct pc_reaper_message *message, const int *fds,
                 uint32_t fd_count)
{
    long position = pc_registry_add(&reaper->registry, message, fds, fd_count);
    if (position < 0) {
        return position;
    }
    if (message->type == PC_REAPER_PROCESS && watch(reaper, fds[0], (uint32_t)position) < 0) {
        /* Too many watches for this user. It is still killed in the end, but not forgotten before. */
        close_intake(reaper);
    }
    if (reaper->ending) {
        kill_registered(&reaper->registry.table[position]);
    }
    if (reaper->registry.fd_count >= reaper->fd_limit) {
        close_intake(reaper);
    }
    return 0;
}

/* Takes one message from the socket. False when there is none. */
static bool receive(struct reaper *reaper)
{
    struct pc_reaper_message message;
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(PC_REAPER_MAX_FDS * sizeof(int))];
    } control;
    struct iovec part = {.iov_base = &message, .iov_len = sizeof message};
    struct msghdr header = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    long length = pc_raw3(__NR_recvmsg, SOCKET_FD, pc_pointer(&header), MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (length == -EAGAIN) {
        return false;
    }
    if (length <= 0) {
        /* End of file; our own, after close_intake, says nothing about the host. */
        unwatch(reaper, SOCKET_FD);
        reaper->let_go = !reaper->closed;
        close_intake(reaper);
        return false;
    }
    int fds[PC_REAPER_MAX_FDS];
    uint32_t fd_count = pc_fds_of(&header, fds);
    bool whole = length == sizeof message && (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0;
    if (!whole || !is_valid(&message, fds, fd_count) ||
        (message.type != PC_REAPER_FORGET && keep(reaper, &message, fds, fd_count) < 0)) {
        for (uint32_t i = 0; i < fd_count; i++) {
            pc_close(fds[i]);
        }
        close_intake(reaper);
    } else if (message.type == PC_REAPER_FORGET) {
        forget(reaper, message.id);
    }
    return true;
}

/*
 * Waits for events and handles them; a negative timeout waits for ever.  True when a message came.
 *
 * The socket goes last: what ends may free a place in the registry, what is received may take it, and then an
 * event of the same round would be held against the wrong process.
 */
static bool step(struct reaper *reaper, int64_t timeout)
{
    struct epoll_event events[EVENTS];
    bool readable = false;
    long count = pc_raw6(__NR_epoll_pwait, reaper->epoll, pc_pointer(events), EVENTS, (long)timeout, 0, 0);
    for (long i = 0; i < count; i++) {
        uint32_t source = (uint32_t)events[i].data;
        if (source == FROM_SOCKET) {
            readable = true;
        } else if (source == FROM_HOST) {
            reaper->host_died = true;
            unwatch(reaper, HOST_FD);
        } else {
            drop(reaper, source);
        }
    }
    bool received = false;
    for (int i = 0; readable && i < EVENTS; i++) {
        readable = receive(reaper);
        received |= readable;
    }
    return received;
}

static void guard(struct reaper *reaper)
{
    while (!reaper->host_died && !reaper->let_go && !(reaper->closed && reaper->registry.count == 0)) {
        step(reaper, -1);
    }
}

static void kill_all(const struct reaper *reaper, uint32_t type)
{
    for (uint32_t i = 0; i < reaper->registry.used; i++) {
        if (reaper->registry.table[i].type == type) {
            kill_registered(&reaper->registry.table[i]);
        }
    }
}

static void collect(struct reaper *reaper)
{
    reaper->ending = true;
    kill_all(reaper, PC_REAPER_PROCESS);
    kill_all(reaper, PC_REAPER_CGROUP);
    int64_t now = pc_now(), latest = now + COLLECTION, silent = now + SILENCE;
    while (!reaper->closed && now < latest && now < silent) {
        bool received = step(reaper, (silent < latest ? silent : latest) - now);
        now = pc_now();
        if (received) {
            silent = now + SILENCE;
        }
    }
    /* From now on senders get EPIPE, and their set-up fails; what was sent before is in the queue. */
    close_intake(reaper);
    while (receive(reaper)) {
    }
}

static bool remove_cgroups(const struct pc_registration *registration)
{
    bool complete = true;
    for (uint32_t i = 0; i < registration->fd_count; i++) {
        complete &= pc_cgroup_remove(registration->fds[i], registration->name) == 0;
    }
    return complete;
}

static bool remove_tree(const struct pc_registration *registration)
{
    uint32_t last = registration->fd_count - 1;
    int userns = registration->flags & PC_REAPER_USERNS ? registration->fds[last] : -1;
    return pc_tree_remove(registration->fds[0], registration->name, userns) == 0;
}

/* Does for every registration of a type what its host did not come to do. */
static bool remove_all(struct reaper *reaper, uint32_t type, bool (*act)(const struct pc_registration *))
{
    bool complete = true;
    for (uint32_t i = 0; i < reaper->registry.used; i++) {
        if (reaper->registry.table[i].type == type) {
            complete &= act(&reaper->registry.table[i]);
            drop(reaper, i);
        }
    }
    return complete;
}

static int finish(struct reaper *reaper)
{
    int64_t now = pc_now(), deadline = now + DEATH;
    while (reaper->registry.process_count > 0 && now < deadline) {
        step(reaper, deadline - now);
        now = pc_now();
    }
    bool complete = reaper->registry.process_count == 0;
    complete &= remove_all(reaper, PC_REAPER_CGROUP, remove_cgroups);
    complete &= remove_all(reaper, PC_REAPER_TREE, remove_tree);
    return complete ? 0 : EXIT_INCOMPLETE;
}

/* A part of the fds is reserved. */
static uint64_t fd_limit(void)
{
    uint64_t limit = pc_raise_fd_limit(), reserve = limit / 4;
    return limit - (reserve < MAX_RESERVE ? reserve : MAX_RESERVE);
}

static int leash(void)
{
    static struct reaper reaper;
    if (!pc_stand_beside("reaper") || pc_registry_open(&reaper.registry) < 0) {
        return EXIT_USAGE;
    }
    reaper.fd_limit = fd_limit();
    reaper.epoll = (int)pc_raw1(__NR_epoll_create1, EPOLL_CLOEXEC);
    if (watch(&reaper, SOCKET_FD, FROM_SOCKET) < 0 || watch(&reaper, HOST_FD, FROM_HOST) < 0) {
        return EXIT_USAGE;
    }
    guard(&reaper);
    collect(&reaper);
    return finish(&reaper);
}

static int remove_named(int argc, char **argv)
{
    long userns = argc > 3 ? pc_parse(argv[3], 1 << 30) : -1;
    return pc_tree_remove(SOCKET_FD, argv[2], (int)userns) == 0 ? 0 : EXIT_INCOMPLETE;
}

int pc_main(int argc, char **argv, char **envp)
{
    (void)envp;
    if (argc <= 1) {
        return leash();
    }
    return argc >= 3 && pc_equal(argv[1], "remove") && is_name(argv[2]) ? remove_named(argc, argv) : EXIT_USAGE;
}
