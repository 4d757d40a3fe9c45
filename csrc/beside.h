/* What the programs share that run beside a host process, with a socket to it: the reaper, the scribe. */
#ifndef PC_BESIDE_H
#define PC_BESIDE_H

#include "freestanding.h"

#include <sys/socket.h>

enum {
    SOCKET_FD = 3, /* their end of the socket */
    HOST_FD = 4,   /* a pidfd of the host     */
};

/* Out of reach of everything that ends or watches the host, and holding nothing of it but these two. */
bool pc_stand_beside(const char *name);

/* The fds of a message, how many: nothing else is enabled on the socket, so they are its first and only control part. */
uint32_t pc_fds_of(struct msghdr *header, int *fds);

/* Has all fds that this user may have; how many. */
uint64_t pc_raise_fd_limit(void);

#endif
