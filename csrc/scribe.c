/*
 * The writer of logs: one small process beside a host process, that takes what its containers write from their pipes.
 * It runs nothing and owns nothing; the messages are those of scribe_protocol.h.
 *
 *   scribe                      fd 3: its end of the socket; fd 4: a pidfd of the host
 *
 * It ends with its host.  The containers do, too (reaper.c), and their logs are removed with them.
 */
#include "beside.h"
#include "log.h"
#include "scribe_protocol.h"

#include <linux/errno.h>
#include <linux/eventpoll.h>

enum { EXIT_USAGE = 2, EVENTS = 64, MAX_FDS = 3 };

/* Where an event comes from; below these: a journal's number and a stream. */
enum { FROM_SOCKET = 0x7ffffffe, FROM_HOST = 0x7fffffff };

struct journal {
    bool used;
    int output[STREAM_COUNT];
    struct log log;
};

static struct journal journals[PC_SCRIBE_MOST];
static int poll_fd;

static long watch(int fd, uint32_t source)
{
    struct epoll_event event = {.events = EPOLLIN, .data = source};
    return pc_raw4(__NR_epoll_ctl, poll_fd, EPOLL_CTL_ADD, fd, pc_pointer(&event));
}

static void drop(struct journal *journal, int stream)
{
    if (journal->output[stream] >= 0) {
        pc_raw4(__NR_epoll_ctl, poll_fd, EPOLL_CTL_DEL, journal->output[stream], 0);
        pc_close(journal->output[stream]);
        journal->output[stream] = -1;
    }
}

static void copy(struct journal *journal, int stream)
{
    if (journal->output[stream] >= 0 && pc_readable(journal->output[stream]) &&
        !log_copy(&journal->log, stream, journal->output[stream])) {
        drop(journal, stream);
    }
}

static void let_go(struct journal *journal)
{
    if (journal->used) {
        for (int stream = 0; stream < STREAM_COUNT; stream++) {
            drop(journal, stream);
        }
        if (journal->log.fd >= 0) {
            pc_close(journal->log.fd);
        }
        pc_close(journal->log.folder);
        journal->used = false;
    }
}

/* Takes over the fds, whatever comes of it. */
static long listen_to(struct journal *journal, const struct pc_scribe_message *message, const int *fds)
{
    if (journal->used) {
        pc_close(fds[0]);
    } else {
        *journal = (struct journal){
            .used = true,
            .output = {-1, -1},
            .log = {.folder = fds[0], .fd = -1, .files = message->files, .read = UINT32_MAX, .bound = message->bound}};
        long ret = log_open(&journal->log, message->newest);
        if (ret < 0) {
            pc_close(fds[1]);
            if (message->streams == (PC_SCRIBE_OUT | PC_SCRIBE_ERR)) {
                pc_close(fds[2]);
            }
            let_go(journal);
            return ret;
        }
    }
    long failed = 0;
    for (int stream = 0, next = 1; stream < STREAM_COUNT; stream++) {
        if (message->streams & (1U << stream)) {
            drop(journal, stream); /* of a start before, which has ended */
            journal->output[stream] = fds[next++];
            long ret = watch(journal->output[stream], (uint32_t)((journal - journals) * STREAM_COUNT + stream));
            if (ret < 0) {
                drop(journal, stream);
                failed = ret;
            }
        }
    }
    return failed;
}

static bool is_valid(const struct pc_scribe_message *message, uint32_t fd_count)
{
    if (message->journal >= PC_SCRIBE_MOST) {
        return false;
    }
    switch (message->type) {
    case PC_SCRIBE_LISTEN:
        return message->streams >= 1 && message->streams <= 3 && message->newest >= 1 && message->files >= 1 && message->bound >= PIECE &&
               fd_count == 2U + (message->streams == 3);
    case PC_SCRIBE_DRAIN:
    case PC_SCRIBE_CLOSE:
        return fd_count == 0;
    default:
        return false;
    }
}

static void serve(const struct pc_scribe_message *message, const int *fds, uint32_t fd_count)
{
    struct pc_scribe_reply reply = {0};
    if (!is_valid(message, fd_count)) {
        for (uint32_t i = 0; i < fd_count; i++) {
            pc_close(fds[i]);
        }
        reply.error = EINVAL;
    } else {
        struct journal *journal = &journals[message->journal];
        if (message->type == PC_SCRIBE_LISTEN) {
            reply.error = (int32_t)-listen_to(journal, message, fds);
        } else if (journal->used) {
            copy(journal, STREAM_OUT);
            copy(journal, STREAM_ERR);
        }
        if (journal->used) {
            reply.streams = (journal->output[0] >= 0 ? PC_SCRIBE_OUT : 0U) | (journal->output[1] >= 0 ? PC_SCRIBE_ERR : 0U);
            reply.lost = journal->log.lost;
        }
        if (message->type == PC_SCRIBE_CLOSE) {
            let_go(journal);
        }
    }
    pc_raw6(__NR_sendto, SOCKET_FD, pc_pointer(&reply), sizeof reply, MSG_NOSIGNAL, 0, 0);
}

/* Takes one message. False at the end of file. */
static bool receive(void)
{
    struct pc_scribe_message message;
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(MAX_FDS * sizeof(int))];
    } control;
    struct iovec part = {.iov_base = &message, .iov_len = sizeof message};
    struct msghdr header = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    long length = pc_raw3(__NR_recvmsg, SOCKET_FD, pc_pointer(&header), MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (length == -EAGAIN || length == -EINTR) {
        return true;
    }
    if (length <= 0) {
        return false;
    }
    int fds[MAX_FDS];
    uint32_t fd_count = pc_fds_of(&header, fds);
    if (length != sizeof message || (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
        message.type = 0; /* too few fds are left: told as an error */
    }
    serve(&message, fds, fd_count);
    return true;
}

/* The socket goes last: what it has closed may have got a new number, which an event of this round is not about. */
static bool step(void)
{
    struct epoll_event events[EVENTS];
    bool readable = false;
    long count = pc_raw6(__NR_epoll_pwait, poll_fd, pc_pointer(events), EVENTS, -1, 0, 0);
    for (long i = 0; i < count; i++) {
        uint32_t source = (uint32_t)events[i].data;
        if (source == FROM_HOST) {
            return false;
        }
        if (source == FROM_SOCKET) {
            readable = true;
        } else {
            copy(&journals[source / STREAM_COUNT], (int)(source % STREAM_COUNT));
        }
    }
    return !readable || receive();
}

int pc_main(int argc, char **argv, char **envp)
{
    (void)argc;
    (void)argv;
    (void)envp;
    if (!pc_stand_beside("scribe")) {
        return EXIT_USAGE;
    }
    pc_raise_fd_limit();
    poll_fd = (int)pc_raw1(__NR_epoll_create1, EPOLL_CLOEXEC);
    if (watch(SOCKET_FD, FROM_SOCKET) < 0 || watch(HOST_FD, FROM_HOST) < 0) {
        return EXIT_USAGE;
    }
    while (step()) {
    }
    return 0;
}
