/*
 * What the host tells its scribe.  Read by C, and by the cffi build, which skips the lines that start with '#'.
 *
 * One datagram of a SOCK_SEQPACKET socket is one message, its fds come with SCM_RIGHTS; each is answered, in order.
 *
 *   host                                     scribe
 *   ----                                     ------
 *   LISTEN + folder + a pipe or two -------> logs in the folder what comes, until the end of each
 *   DRAIN                      ------------> has logged what was written before the message
 *   CLOSE                      ------------> the same, and lets go of the pipes and the folder
 *   dies, or closes the socket               exits
 *
 * A journal's number is chosen by the host, below PC_SCRIBE_MOST.  LISTEN to one that is there adds its pipes to it.
 */
#ifndef PC_SCRIBE_PROTOCOL_H
#define PC_SCRIBE_PROTOCOL_H
#include <stdint.h>

enum pc_scribe_type { PC_SCRIBE_LISTEN = 1, PC_SCRIBE_DRAIN = 2, PC_SCRIBE_CLOSE = 3 };

/* Which pipes a LISTEN has, in this order. */
enum pc_scribe_stream { PC_SCRIBE_OUT = 1, PC_SCRIBE_ERR = 2 };

enum { PC_SCRIBE_MOST = 8192 };

struct pc_scribe_message {
    uint32_t type;
    uint32_t journal;
    uint32_t streams;
    uint32_t newest; /* of LISTEN: the file that is written to first */
    uint32_t files;  /* how many are kept                            */
    uint32_t reserved;
    uint64_t bound;  /* and how long each may become                 */
};

struct pc_scribe_reply {
    int32_t error;    /* an errno, or 0                              */
    uint32_t streams; /* those that have not ended                   */
    uint64_t lost;    /* bytes that could not be logged until now    */
};

#endif
