/*
 * What a detached container's monitor is told: its plan, and the requests of clients.  Read by C, and by the cffi
 * build, which skips the lines that start with '#'.  native.h comes before it.
 *
 * The plan is a file, open as fd 3: this header, then for each program that the monitor may start a struct pc_flat.
 *
 *   client                                   monitor
 *   ------                                   -------
 *   connects (SOCK_SEQPACKET, a file of the container's folder, of the caller alone)
 *   request                   ------------>
 *                             <------------  reply, with fds for HELLO
 *   WATCH                     ------------>
 *                             <------------  news: something was logged, or the phase is another one
 *
 * News say nothing themselves, what there is to know is in the files; so one that finds no room is dropped: who has
 * not read those before will look anyway.
 */
#ifndef PC_MONITOR_PROTOCOL_H
#define PC_MONITOR_PROTOCOL_H

/* The fds that a monitor is started with; from FIRST on they are what the plan says. */
enum pc_monitor_fd {
    PC_MONITOR_PLAN = 3,
    PC_MONITOR_FOLDER = 4, /* of the container                                                    */
    PC_MONITOR_ALIVE = 5,  /* a locked file: open until there is no monitor                        */
    PC_MONITOR_SOCKET = 6, /* listens                                                              */
    PC_MONITOR_READY = 7,  /* gets a struct pc_monitor_ready when the first start is over, and is closed */
    PC_MONITOR_ABOVE = 8,  /* the directory that the folder is in, with the file `events`          */
    PC_MONITOR_VERB = 9,   /* a locked file: open until the first start is over                    */
    PC_MONITOR_FIRST = 10,
};

enum pc_monitor_limit {
    PC_MONITOR_MAGIC = 0x70634d31,
    PC_MONITOR_CGROUPS = 16,
    PC_MONITOR_CLIENTS = 64,
};

enum pc_monitor_restart { PC_RESTART_NO, PC_RESTART_ON_FAILURE, PC_RESTART_ALWAYS };

enum pc_monitor_flag {
    PC_MONITOR_TTY = 1,
    PC_MONITOR_INPUT = 2,  /* standard input is a pipe that clients get   */
    PC_MONITOR_REMOVE = 4, /* the folder goes with the container's end    */
    PC_MONITOR_USERNS = 8, /* `userns` is there                           */
};

/* Tags of the fds that the container's first process sends. */
enum pc_monitor_sent { PC_SENT_UPPER, PC_SENT_ROOT, PC_SENT_MASTER };

enum pc_monitor_phase { PC_PHASE_STARTING, PC_PHASE_RUNNING, PC_PHASE_RESTARTING, PC_PHASE_EXITED, PC_PHASE_DEAD };

/* A start as pc_spawn takes it. Pointers in `spec` and in its lists are offsets from here, 0 is NULL; what is in a
 * slot is an fd of the monitor. Those named here are filled in at each start; -1: there is none. */
struct pc_flat {
    uint32_t size;
    uint32_t slot_count;
    int32_t stdio[3];
    int32_t export_to; /* the socket that fds are sent back over    */
    int32_t report;    /* the pipe for what execve says             */
    int32_t target;    /* a pidfd of the container's first process  */
    struct pc_spawn spec;
};

struct pc_monitor_plan {
    uint32_t magic;
    uint32_t size;    /* of the whole file */
    uint32_t start;   /* offset of the container's own struct pc_flat */
    uint32_t health;  /* that of its health check, or 0 */
    uint32_t restart; /* enum pc_monitor_restart */
    uint32_t retries; /* at most so many; 0: no bound */
    uint32_t flags;
    int32_t stop_signal;
    int32_t userns;
    int32_t oom; /* the cgroup's file with a line "oom_kill", or -1 */
    uint32_t cgroup_count;
    int32_t cgroups[16]; /* the directories that the cgroup `cgroup` is in */
    uint32_t log_files;
    uint64_t log_size; /* bytes */
    uint32_t log_number; /* of the file that is written to first */
    uint32_t reserved2;
    int64_t interval;  /* of health checks; this and the next three in milliseconds */
    int64_t timeout;
    int64_t start_period;
    int64_t start_interval;
    uint32_t failures; /* so many in turn: unhealthy */
    uint32_t fd_count; /* from FIRST on so many fds are given; clients may have them */
    uint32_t restore; /* offset of the struct pc_flat of what restores it at the first start, or 0 */
    char cgroup[128];
    char id[72];
    char boot[40];
};

enum pc_monitor_step { PC_MONITOR_NO_ROOM = -1 /* its files could not be written */ };

struct pc_monitor_ready {
    int32_t step; /* enum pc_step; 0: it runs, or execve failed with `error`; or enum pc_monitor_step */
    int32_t error;
    int32_t op;
    int32_t pid;
};

enum pc_monitor_request_type {
    PC_MONITOR_HELLO = 1,   /* fds in the reply: root, pidfd of the first process [, where input goes]  */
    PC_MONITOR_SIGNAL,      /* to the first process; last: no restart follows                           */
    PC_MONITOR_END,         /* no restart follows; one that waits to be restarted has ended             */
    PC_MONITOR_WATCH,
    PC_MONITOR_RESIZE,      /* the terminal: rows, columns                                              */
    PC_MONITOR_CLOSE_INPUT,
    PC_MONITOR_POLICY,      /* enum pc_monitor_restart, retries                                         */
    PC_MONITOR_NEWS,        /* the type of what a watcher gets                                          */
    PC_MONITOR_HOLD,        /* no file of the log newer than `value` is removed before the client says so;
                               when there is no room then, the container waits                          */
    PC_MONITOR_FD,          /* one of the fds that the monitor was given: its number there              */
    PC_MONITOR_STREAM,      /* its end of a pipe: 0 where input goes, 1 and 2 where output comes from   */
};

struct pc_monitor_request {
    uint32_t type;
    int32_t value;
    int32_t value2;
    uint32_t reserved;
};

struct pc_monitor_reply {
    uint32_t type;
    int32_t error; /* errno, or 0 */
    int32_t phase;
    int32_t pid;
    int32_t code; /* the exit code of the last run, or -1 */
    uint32_t log; /* the number of the log's newest file */
    uint64_t serial; /* counts what is news */
};

#endif
