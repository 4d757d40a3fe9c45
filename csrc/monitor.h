/* What the sources of the monitor share. The monitor's story is told in monitor.c. */
#ifndef PC_MONITOR_H
#define PC_MONITOR_H

#include "freestanding.h"

#include "child.h"
#include "log.h"
#include "monitor_protocol.h"

/* One program on its way from a struct pc_flat to execve; nothing of it waits. */
struct launch {
    bool running;     /* begun and not over                                */
    int done;         /* readable when the outer stage has done its work   */
    int report;       /* readable when execve has or has not taken place   */
    int export_from;  /* where the container sends fds to, or -1           */
    int theirs[5];    /* what only the program needs, closed when it has it */
    long outer;       /* pid                                               */
    void *plan;       /* the description, with pointers                    */
    size_t plan_size;
    void *stacks;
    int64_t since;
    struct pc_flat *flat;
    struct pc_result result;
    long stray;          /* was killed and is not gone yet: it is frozen   */
};

struct health {
    enum { HEALTH_NONE, HEALTH_STARTING, HEALTH_GOOD, HEALTH_BAD } state;
    struct launch launch;
    int output;
    long pid;
    int pidfd;
    int64_t next;    /* when the next one is due  */
    int64_t expires; /* when this one has failed  */
    uint64_t began;  /* nanoseconds since 1970    */
    uint32_t streak; /* failures in turn          */
    uint32_t count;
    uint32_t length;
    char text[4096]; /* what it wrote             */
};

struct monitor {
    struct pc_monitor_plan plan;
    enum pc_monitor_phase phase;
    volatile bool over; /* said to the guard: the end is in order */
    bool last;          /* no restart follows */
    volatile bool first; /* the first start is not over yet */
    bool paused_input;
    bool restoring;      /* `pid` is what restores the container's processes */
    struct launch launch;
    struct log log;
    uint64_t noted; /* of the bytes that could not be logged, as the status tells */
    struct health health;
    long self; /* pids and pidfds of the two */
    int self_fd;
    long guard;
    int guard_fd;
    long pid; /* of the container's first process */
    int pidfd;
    int root;
    int output[STREAM_COUNT]; /* of a terminal only the first */
    int input;
    int signals;
    uint64_t ticks; /* when it started, as /proc tells */
    uint64_t started;
    uint64_t finished;
    int64_t ran_since;
    int64_t delay;    /* of the next restart, milliseconds */
    int64_t due;      /* when that is */
    int64_t look;     /* when to look next whether it has ended unnoticed, see monitor_end.c */
    int64_t pause;
    bool seen_over;
    bool killed;      /* SIGKILL was sent to this run */
    int pending;      /* the signal that it gets when the start is over */
    int32_t rows;     /* of the terminal, as was last told; 0: never */
    int32_t columns;
    long unreaped;    /* has ended, and cannot be reaped yet */
    uint32_t restarts;
    int32_t status;   /* as wait(2) tells */
    bool oom;
    uint64_t oom_before;
    struct pc_monitor_ready failure; /* of the last start, if it failed */
    uint64_t serial;
    int clients[PC_MONITOR_CLIENTS];
    bool watching[PC_MONITOR_CLIENTS];
    uint32_t holding[PC_MONITOR_CLIENTS]; /* files from this number on stay; 0: all may go */
};

/* monitor_start.c: the steps of a start. */
long launch_begin(struct launch *launch, uint32_t offset, uint32_t size, int stdio[3], int target);
/* After `done`: 0, or -1 with what failed in launch->result. */
int launch_cloned(struct launch *launch);
/* After `report`: 0, or the errno of execve. */
int launch_outcome(struct launch *launch);
/* Takes an fd with its tag that the container sent; -1: none any more. */
int launch_receive(struct launch *launch, unsigned char *tag);
void launch_close(struct launch *launch);
/* Ends what is on its way. */
void launch_kill(struct launch *launch);
/* Reaps a process that was killed; false while it is not gone. Waits for nothing. */
bool launch_is_clear(struct launch *launch);

/* monitor_record.c: files that tell of the container. */
long record_reserve(void);
void record_status(const struct monitor *monitor, bool durable);
void record_event(const struct monitor *monitor, const char *action);
void record_health(const struct monitor *monitor, int32_t status, uint64_t ended);
uint64_t read_oom_kills(int fd);
int exit_code(int32_t status);

/* monitor_end.c */
/* When a process started, as /proc tells. */
uint64_t read_ticks(long pid);
/* Are all threads of a process done, whether it can be reaped or not? Then its status as wait(2) tells. */
bool process_is_over(long pid, int32_t *status);
/* To look from now on, first soon; and no more. */
void looks_begin(struct monitor *monitor);
void looks_stop(struct monitor *monitor);
/* Is it over? */
bool looks_step(struct monitor *monitor, int64_t now, int32_t *status);
/* Reads a small file once; the length, or -errno. */
long read_file(int directory, const char *path, char *buffer, size_t size);
uint64_t number_at(const char **at, const char *end);

/* monitor_health.c */
void health_reset(struct monitor *monitor);
/* When health wants to be looked at again. */
int64_t health_next(const struct monitor *monitor);
void health_step(struct monitor *monitor, int64_t now);
void health_stop(struct monitor *monitor);

/* monitor_restore.c: after the end of what restores. 0: `pid`, `pidfd` and `root` are the container's; or an errno. */
int restore_outcome(struct monitor *monitor, int32_t status);

/* monitor_clients.c */
void clients_accept(struct monitor *monitor);
void clients_serve(struct monitor *monitor, uint32_t which);
void clients_tell(struct monitor *monitor);
/* The files up to this number may go. */
uint32_t clients_have_read(const struct monitor *monitor);

long set_window(const struct monitor *monitor);

/* monitor.c */
/* Two ends of a pipe for a program: `ours` is 0 when it is read here, 1 when it is written. */
long make_pipe(int pair[2], int ours);
/* SIGKILL to all that is in the container's cgroups; what was frozen goes on, and dies. */
void kill_cgroups(const struct monitor *monitor);
/* SIGKILL to a child that is not waited for yet. */
void end_process(long pid);
void monitor_news(struct monitor *monitor);
bool monitor_signal(struct monitor *monitor, int number);
void monitor_end(struct monitor *monitor);

#endif
