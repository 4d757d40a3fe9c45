/* The clients: processes of the same user that ask for something, or watch. See monitor_protocol.h. */
#include "monitor.h"

#include <asm/ioctls.h>
#include <asm/termios.h>
#include <linux/errno.h>
#include <linux/fcntl.h>
#include <sys/socket.h>

enum { MOST_FDS = 3, LAST_SIGNAL = 64 };

struct credentials { /* struct ucred of unix(7) */
    int32_t pid;
    uint32_t uid;
    uint32_t gid;
};

static struct pc_monitor_reply reply_of(const struct monitor *monitor, uint32_t type, long error)
{
    return (struct pc_monitor_reply){
        .type = type,
        .error = (int32_t)-error,
        .phase = (int32_t)monitor->phase,
        .pid = (int32_t)monitor->pid,
        .code = monitor->finished != 0 ? exit_code(monitor->status) : -1,
        .log = monitor->log.number,
        .serial = monitor->serial,
    };
}

static void drop(struct monitor *monitor, uint32_t which)
{
    pc_close(monitor->clients[which]);
    monitor->clients[which] = -1;
    monitor->watching[which] = false;
    monitor->holding[which] = 0;
}

/* Never waits: who does not read what he asked for is let go of. */
static long send_reply(int socket, struct pc_monitor_reply *reply, const int *fds, size_t count)
{
    struct iovec part = {.iov_base = reply, .iov_len = sizeof *reply};
    char control[CMSG_SPACE(MOST_FDS * sizeof(int))] __attribute__((aligned(8)));
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (count > 0) {
        memset(control, 0, sizeof control);
        struct cmsghdr *header = (struct cmsghdr *)(void *)control;
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(header), fds, count * sizeof(int));
        message.msg_control = control;
        message.msg_controllen = CMSG_SPACE(count * sizeof(int));
    }
    return pc_raw3(__NR_sendmsg, socket, pc_pointer(&message), MSG_DONTWAIT | MSG_NOSIGNAL);
}

void clients_accept(struct monitor *monitor)
{
    long fd = pc_raw4(__NR_accept4, PC_MONITOR_SOCKET, 0, 0, SOCK_CLOEXEC);
    if (fd < 0) {
        return;
    }
    struct credentials peer = {0};
    unsigned length = sizeof peer;
    long ret = pc_raw5(__NR_getsockopt, fd, SOL_SOCKET, SO_PEERCRED, pc_pointer(&peer), pc_pointer(&length));
    bool own = ret == 0 && (peer.uid == 0 || peer.uid == (uint32_t)pc_raw0(__NR_geteuid));
    for (uint32_t i = 0; own && i < PC_MONITOR_CLIENTS; i++) {
        if (monitor->clients[i] < 0) {
            monitor->clients[i] = (int)fd;
            return;
        }
    }
    pc_close((int)fd);
}

static void hello(struct monitor *monitor, uint32_t which)
{
    bool runs = monitor->phase == PC_PHASE_RUNNING && monitor->pidfd >= 0 && monitor->root >= 0;
    struct pc_monitor_reply reply = reply_of(monitor, PC_MONITOR_HELLO, runs ? 0 : -ESRCH);
    int fds[MOST_FDS] = {monitor->root, monitor->pidfd, monitor->input};
    size_t count = !runs ? 0 : monitor->input >= 0 ? 3 : 2;
    if (send_reply(monitor->clients[which], &reply, fds, count) < 0) {
        drop(monitor, which);
    }
}

static void stream(struct monitor *monitor, uint32_t which, int32_t number)
{
    const int streams[] = {monitor->input, monitor->output[0], monitor->output[1]};
    bool there = number >= 0 && number < 3 && !(monitor->plan.flags & PC_MONITOR_TTY) && streams[number] >= 0;
    struct pc_monitor_reply reply = reply_of(monitor, PC_MONITOR_STREAM, there ? 0 : -EBADF);
    if (send_reply(monitor->clients[which], &reply, &streams[there ? number : 0], there) < 0) {
        drop(monitor, which);
    }
}

/* What it keeps for the container, and others have no other way to: its network. */
static void hand_out(struct monitor *monitor, uint32_t which, int fd)
{
    bool given = fd >= PC_MONITOR_FIRST && (uint32_t)(fd - PC_MONITOR_FIRST) < monitor->plan.fd_count;
    struct pc_monitor_reply reply = reply_of(monitor, PC_MONITOR_FD, given ? 0 : -EBADF);
    if (send_reply(monitor->clients[which], &reply, &fd, given ? 1 : 0) < 0) {
        drop(monitor, which);
    }
}

long set_window(const struct monitor *monitor)
{
    struct winsize size = {.ws_row = (unsigned short)monitor->rows, .ws_col = (unsigned short)monitor->columns};
    return pc_raw3(__NR_ioctl, monitor->output[0], TIOCSWINSZ, pc_pointer(&size));
}

static long resize(struct monitor *monitor, int32_t rows, int32_t columns)
{
    if (!(monitor->plan.flags & PC_MONITOR_TTY)) {
        return -ENOTTY;
    }
    if (rows < 0 || columns < 0 || rows > UINT16_MAX || columns > UINT16_MAX) {
        return -EINVAL;
    }
    monitor->rows = rows; /* also those of the next start */
    monitor->columns = columns;
    return monitor->output[0] < 0 ? 0 : set_window(monitor);
}

static long act(struct monitor *monitor, uint32_t which, const struct pc_monitor_request *request)
{
    switch (request->type) {
    case PC_MONITOR_SIGNAL:
        if (request->value < 1 || request->value > LAST_SIGNAL) {
            return -EINVAL;
        }
        monitor->last = monitor->last || request->value2 != 0;
        return monitor_signal(monitor, request->value) ? 0 : -ESRCH;
    case PC_MONITOR_END:
        monitor_end(monitor);
        return 0;
    case PC_MONITOR_WATCH:
        monitor->watching[which] = true;
        return 0;
    case PC_MONITOR_RESIZE:
        return resize(monitor, request->value, request->value2);
    case PC_MONITOR_CLOSE_INPUT:
        if (monitor->plan.flags & PC_MONITOR_TTY || monitor->input < 0) {
            return -EBADF;
        }
        pc_close(monitor->input);
        monitor->input = -1;
        return 0;
    case PC_MONITOR_POLICY:
        if (request->value < PC_RESTART_NO || request->value > PC_RESTART_ALWAYS || request->value2 < 0) {
            return -EINVAL;
        }
        monitor->plan.restart = (uint32_t)request->value;
        monitor->plan.retries = (uint32_t)request->value2;
        return 0;
    case PC_MONITOR_HOLD:
        if (request->value < 0) {
            return -EINVAL;
        }
        monitor->holding[which] = (uint32_t)request->value + 1;
        return 0;
    default:
        return -EINVAL;
    }
}

uint32_t clients_have_read(const struct monitor *monitor)
{
    uint32_t least = UINT32_MAX;
    for (uint32_t i = 0; i < PC_MONITOR_CLIENTS; i++) {
        if (monitor->holding[i] > 0 && monitor->holding[i] - 1 < least) {
            least = monitor->holding[i] - 1;
        }
    }
    return least;
}

void clients_serve(struct monitor *monitor, uint32_t which)
{
    struct pc_monitor_request request;
    long ret = pc_raw6(__NR_recvfrom, monitor->clients[which], pc_pointer(&request), sizeof request,
                       MSG_DONTWAIT | MSG_TRUNC, 0, 0);
    if (ret == -EAGAIN || ret == -EINTR) {
        return;
    }
    if (ret != (long)sizeof request) {
        drop(monitor, which);
        return;
    }
    if (request.type == PC_MONITOR_HELLO) {
        hello(monitor, which);
        return;
    }
    if (request.type == PC_MONITOR_FD) {
        hand_out(monitor, which, request.value);
        return;
    }
    if (request.type == PC_MONITOR_STREAM) {
        stream(monitor, which, request.value);
        return;
    }
    struct pc_monitor_reply reply = reply_of(monitor, request.type, 0);
    reply.error = (int32_t)-act(monitor, which, &request);
    if (send_reply(monitor->clients[which], &reply, NULL, 0) < 0) {
        drop(monitor, which);
    }
}

void clients_tell(struct monitor *monitor)
{
    for (uint32_t i = 0; i < PC_MONITOR_CLIENTS; i++) {
        if (monitor->watching[i]) {
            struct pc_monitor_reply news = reply_of(monitor, PC_MONITOR_NEWS, 0);
            /* No room: it has not read those before, and will look. */
            send_reply(monitor->clients[i], &news, NULL, 0);
        }
    }
}
