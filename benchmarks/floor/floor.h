/*
 * The floor: what starting a container costs when it is written down in C, call after call.
 *
 * Shares no code with the library.  It makes the same namespaces, mounts, masks, ids, capabilities and
 * filter with the same system calls in the same order, and leaves out only what a program that knows
 * everything beforehand need not ask for.  `python -m benchmarks --only calls` shows both lists.
 */
#ifndef FLOOR_H
#define FLOOR_H

#include <linux/filter.h>
#include <linux/sched.h>
#include <stddef.h>
#include <stdint.h>

enum { MOST = 64, SPOTS = 8 };

/* A block of host ids, the user namespace that maps it, and the lowest layer, owned by its root. */
struct identity {
    uint32_t base;
    const char *skeleton;
    int userns;
};

struct list {
    const char *items[MOST];
    size_t count;
};

/* A directory in which each round makes a cgroup: "file=value" is written there, counters are read at the end. */
struct spot {
    int parent;
    int unified; /* in the tree of version 2? */
    struct list limits;
    struct list counters;
};

/* The cgroup of one round, in each spot. */
struct seat {
    int tasks[SPOTS];
    int unified; /* the directory for CLONE_INTO_CGROUP, or -1 */
    char name[32];
};

struct floor {
    struct identity identities[MOST]; /* one for each thread; without: the host's user namespace */
    size_t identity_count;
    struct list masked;
    struct list read_only;
    struct list programs; /* paths tried in turn */
    struct list environment;
    const char *skeleton; /* in the host's user namespace */
    const char *hostname;
    struct sock_fprog filter;
    uint64_t capabilities;
    uint32_t last_capability;
    int own_network;
    int leash;     /* socket of the process that ends what is left when this one dies */
    int container; /* pidfd of the one that `exec` enters */
    int step;      /* step.c, in memory */
    struct spot spots[SPOTS];
    size_t spot_count;
};

/* What the step gets as 0 to 3, the other ends of 1 to 3, and a socket for the writable layer's fd. */
struct streams {
    int child[4];
    int out;
    int err;
    int report; /* ends when the program is executed */
    int exports[2]; /* ours, the child's */
    struct seat seat;
};

/* prepare.c: what is made once, before the first round. */
int make_userns(uint32_t base);
int start_leash(void);
void load_filter(struct floor *floor, const char *path);
int load_step(const char *path);

/* rounds.c: the parent's side; each from before the first call until the program is reaped. */
void start_round(const struct floor *floor, const struct identity *identity);
void exec_round(const struct floor *floor);

/* outer.c: the short-lived process with the host's view; never returns. */
_Noreturn void outer_start(const struct floor *floor, const struct identity *identity, struct streams *streams,
                           int *pid);
_Noreturn void outer_exec(const struct floor *floor, struct streams *streams, int *pid);

/* cgroups.c: the cgroup of a round, made before the clone, joined in the child, read and removed at the end. */
void take_seat(const struct floor *floor, struct seat *seat);
void start_in(struct clone_args *args, const struct seat *seat);
void sit_down(const struct floor *floor, const struct seat *seat);
void look_around(const struct floor *floor, const struct seat *seat); /* for its counters, while the program runs */
void leave_seat(const struct floor *floor, const struct seat *seat);

/* inner.c: the container's first process, or a later one; tree.c: the file system; confine.c: on to execve. */
_Noreturn void inner_start(const struct floor *floor, const struct identity *identity, struct streams *streams,
                           int layer, int usr, int dev);
_Noreturn void inner_exec(const struct floor *floor, struct streams *streams);
void build_tree(const struct floor *floor, const struct identity *identity, int layer, int usr, int dev,
                int exports);
int make_dev(const struct identity *identity);
_Noreturn void confine(const struct floor *floor, struct streams *streams);

/* calls.c: system calls that libc does not have, and the end of everything when one fails. */
long must(long value, const char *what);
long must_raw(long value, const char *what); /* of a call that returns -errno */
int open_in(int dir, const char *path, uint64_t flags, uint64_t resolve);
int clone_tree(int dir, const char *path, unsigned int flags);
void set_attributes(int fd, unsigned int flags, uint64_t set, uint64_t propagation, int userns);
int new_mount(const char *type, const char *const (*options)[2], unsigned int attributes);
void move_mount_to(int fd, int dir, const char *path);
void send_fd(int socket, int fd, const void *data, size_t length);
int receive_fd(int socket, int flags);

#define SYS(name, ...) must(syscall(SYS_##name, __VA_ARGS__), #name)

static inline uint64_t inner_namespaces(const struct floor *floor)
{
    return CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | (floor->own_network ? CLONE_NEWNET : 0);
}

/* clone3 in the manner of vfork: same memory, same stack; the caller sleeps until the child has executed.
 * The child must leave by a function that never returns. */
#if defined(__x86_64__)
static inline __attribute__((always_inline)) long clone_shared(void *args, size_t size)
{
    long ret;
    __asm__ volatile("syscall" : "=a"(ret) : "a"(435L), "D"(args), "S"(size) : "rcx", "r11", "memory", "cc");
    return ret;
}
#elif defined(__aarch64__)
static inline __attribute__((always_inline)) long clone_shared(void *args, size_t size)
{
    register long x8 __asm__("x8") = 435;
    register long x0 __asm__("x0") = (long)args;
    register long x1 __asm__("x1") = (long)size;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1) : "memory", "cc");
    return x0;
}
#else
#error "the floor knows x86-64 and arm64"
#endif

#endif
