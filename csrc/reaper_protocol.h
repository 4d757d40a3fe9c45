/*
 * What the host tells its reaper.  Read by C, and by the cffi build, which skips the lines that start with '#'.
 *
 * One datagram of a SOCK_SEQPACKET socket is one message, its fds come with SCM_RIGHTS.  There is no answer:
 * a message that was sent is received, even when the sender dies right after.
 *
 *   host                                     reaper
 *   ----                                     ------
 *   PROCESS + pidfd           -------------> forgets it when the process ends
 *   TREE + parent [+ lock] [+ userns] -----> keeps the fds
 *   CGROUP + parent ..        -------------> keeps the fds
 *   FORGET                    -------------> closes the fds of all registrations with this id
 *   <------------- shuts the socket down     it takes no more: a malformed message, or too few fds or memory
 *   dies, or closes the socket               kills; waits for what was sent meanwhile; waits until the killed
 *                                            are gone; removes cgroups, then trees; closes the locks; exits
 *
 * The socket shut down (EPIPE, POLLHUP) while the reaper lives: it goes on to guard what it took, until the
 * host dies.  One message may be lost then, so the host starts another reaper and tells it everything again.
 * Being registered twice is harmless, and so is closing the socket that was shut down.
 */
#ifndef PC_REAPER_PROTOCOL_H
#define PC_REAPER_PROTOCOL_H
#include <stdint.h>

enum pc_reaper_type {
    PC_REAPER_PROCESS = 1, /* fds: a pidfd.  Id 0: no FORGET follows                              */
    PC_REAPER_TREE = 2,    /* fds: the directory `name` is in [, lock] [, user namespace]: flags  */
    PC_REAPER_CGROUP = 3,  /* fds: the cgroups `name` is in, one for each hierarchy, 1 to 16      */
    PC_REAPER_FORGET = 4,  /* no fds; an id may have several registrations, or none               */
};

/* Which optional fds a TREE has, in this order. */
enum pc_reaper_flag {
    PC_REAPER_LOCK = 1,   /* kept open until the tree is gone: others see by its flock(2) that we are at work */
    PC_REAPER_USERNS = 2, /* entered for what only its root may remove                                       */
};

enum { PC_REAPER_MAX_FDS = 16 };

struct pc_reaper_message {
    uint32_t type;
    uint32_t flags;
    uint64_t id;
    char name[256]; /* ends in NUL; no '/', not "." or ".."; ignored by PROCESS and FORGET */
};

#endif
