/* What init is to execute: from its own arguments, or from an order that it waits for. */
#ifndef PC_ORDER_H
#define PC_ORDER_H

#include <stdbool.h>
#include <stdint.h>

struct pc_start {
    int report;
    long path_count;
    char **paths;
    char **argv;
    char **envp;
};

/* Set in a report: the working directory could not be entered, and not the program be executed. */
enum { PC_ORDER_WORKDIR = 1 << 16 };

/*
 * The head of an order, in the byte order of the machine; see order.c.  `size` bytes of text follow: the working
 * directory if there is one, then paths, arguments and variables, each with its '\0'.
 */
struct pc_order {
    uint32_t size;
    uint32_t workdir; /* 0 or 1 */
    uint32_t paths;
    uint32_t arguments;
    uint32_t variables;
};

/*
 * Waits at the socket `channel` for an order, takes its three fds as 0, 1 and 2, and enters its working directory.
 * True with `start` filled; false when the other side is gone: then there is nothing to do.  Does not return when
 * the order cannot be followed: that is reported to `channel`.
 */
bool pc_await_order(int channel, struct pc_start *start);

#endif
