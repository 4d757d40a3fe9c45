/* What spawn.c, child.c and operations.c share. Not for Python. */
#ifndef PC_CHILD_H
#define PC_CHILD_H

#include "native.h"

/* A walk over operations: what their slots and offsets refer to. */
struct pc_walk {
    const char *strings;
    int32_t *slots;
};

/* Executes all operations in order. 0, or -errno with the failed one's index in `position`. */
long pc_walk_operations(struct pc_walk *walk, const struct pc_op *ops, uint32_t count, int32_t *position);

/* Sends `fd` and `length` bytes over a unix socket. 0 or -errno. */
long pc_send_fd(int socket, int fd, const void *data, size_t length);

/* Makes this process's memory untraceable until the last user of it calls pc_show_memory; for good when one
 * of them was not `alone` with it by then. 0, or -errno and nothing to show. */
long pc_hide_memory(void);
void pc_show_memory(int alone);

/* The inner stage: from its first instruction to execve. Never returns. */
_Noreturn void pc_child_run(const struct pc_spawn *spec, struct pc_result *result);

/* Ends the calling child with a report. Never returns. */
_Noreturn void pc_child_fail(struct pc_result *result, enum pc_step step, long error, int32_t op);

#endif
