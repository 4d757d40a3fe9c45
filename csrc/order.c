/*
 * A program that is set up before anybody knows what it will be: it waits, in its container and with all of its
 * confinement, for the words to execute.
 *
 *   host                                        init (become) await CHANNEL
 *   ----                                        ---------------------------
 *                                               waits; CHANNEL is all that it has open
 *   order head, 3 fds, text ------------------> fds are 0, 1, 2
 *                                               enters the working directory
 *                                               execve: CHANNEL closes
 *   end of file <-----------------------------
 *     or: errno <------------------------------ refused; with PC_ORDER_WORKDIR by the working directory
 *
 *   closes CHANNEL ---------------------------> ends
 *
 * While it waits nothing else runs in the container, and it has a memory of its own that only the host's root can
 * look at: nobody inside could take CHANNEL, which is closed before a program of the container can run.
 */
#include "order.h"
#include "freestanding.h"

#include <linux/errno.h>
#include <linux/mman.h>
#include <sys/socket.h>

enum {
    EXIT_REFUSED = 126,
    LARGEST = 64 << 20, /* the kernel takes a quarter of the stack's limit at most, and 6 MiB (execve(2)) */
};

_Noreturn static void refuse(int channel, long error, int flags)
{
    int number = (int)-error | flags;
    pc_raw3(__NR_write, channel, pc_pointer(&number), sizeof number);
    pc_exit(EXIT_REFUSED);
}

/* All of `size` bytes; false at the end of file. */
static bool read_all(int channel, char *data, size_t size)
{
    while (size > 0) {
        long ret = pc_raw3(__NR_read, channel, pc_pointer(data), (long)size);
        if (ret == -EINTR) {
            continue;
        }
        if (ret <= 0) {
            return false;
        }
        data += ret;
        size -= (size_t)ret;
    }
    return true;
}

/* The head with its fds, which take the lowest free numbers in order (unix(7)): 0, 1, 2. */
static bool take_head(int channel, struct pc_order *order)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(3 * sizeof(int))];
    } control;
    struct iovec part = {.iov_base = order, .iov_len = sizeof *order};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    long ret = -EINTR;
    while (ret == -EINTR) {
        ret = pc_raw3(__NR_recvmsg, channel, pc_pointer(&message), 0);
    }
    if (ret == 0) {
        return false;
    }
    if (ret < 0) {
        refuse(channel, ret, 0);
    }
    const int *fds = (const int *)(const void *)CMSG_DATA(&control.header);
    if (message.msg_controllen < CMSG_LEN(3 * sizeof(int)) || (message.msg_flags & MSG_CTRUNC) ||
        control.header.cmsg_type != SCM_RIGHTS || fds[0] != 0 || fds[1] != 1 || fds[2] != 2) {
        refuse(channel, -EBADF, 0);
    }
    return read_all(channel, (char *)order + ret, sizeof *order - (size_t)ret);
}

/* `count` texts from `*text` on as a list that ends in NULL; both pointers go on behind what was taken. */
static char **take_list(int channel, char **text, const char *end, char ***list, uint32_t count)
{
    char **first = *list;
    for (uint32_t i = 0; i < count; i++) {
        if (*text >= end) {
            refuse(channel, -EINVAL, 0);
        }
        *(*list)++ = *text;
        while (*text < end && *(*text)++ != '\0') {
        }
    }
    *(*list)++ = NULL;
    return first;
}

static void enter(int channel, const char *path)
{
    char found[4096];
    long ret = pc_raw1(__NR_chdir, pc_pointer(path));
    if (ret == 0) {
        /* A directory outside of the root has no path that starts with '/' (getcwd(2), "(unreachable)"). */
        ret = pc_raw2(__NR_getcwd, pc_pointer(found), sizeof found);
        ret = ret < 0 ? ret : (found[0] == '/' ? 0 : -ENOENT);
    }
    if (ret < 0) {
        refuse(channel, ret, PC_ORDER_WORKDIR);
    }
}

bool pc_await_order(int channel, struct pc_start *start)
{
    struct pc_order order;
    if (!take_head(channel, &order)) {
        return false;
    }
    if (order.size > LARGEST || order.workdir > 1 || order.paths > order.size || order.arguments > order.size ||
        order.variables > order.size) {
        refuse(channel, -E2BIG, 0);
    }
    size_t pointers = ((size_t)order.workdir + order.paths + order.arguments + order.variables + 4) * sizeof(char *);
    long memory = pc_raw6(__NR_mmap, 0, (long)(pointers + order.size + 1), PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory < 0 && memory > -4096) {
        refuse(channel, memory, 0);
    }
    char **list = (char **)(uintptr_t)memory, *text = (char *)(uintptr_t)memory + pointers;
    const char *end = text + order.size;
    if (!read_all(channel, text, order.size)) {
        return false;
    }
    char **workdir = take_list(channel, &text, end, &list, order.workdir);
    *start = (struct pc_start){.report = channel, .path_count = (long)order.paths};
    start->paths = take_list(channel, &text, end, &list, order.paths);
    start->argv = take_list(channel, &text, end, &list, order.arguments);
    start->envp = take_list(channel, &text, end, &list, order.variables);
    if (order.workdir) {
        enter(channel, workdir[0]);
    }
    return true;
}
