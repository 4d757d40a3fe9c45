/* See beside.h. */
#include "beside.h"

#include <asm/resource.h>
#include <linux/prctl.h>
#include <signal.h>

bool pc_stand_beside(const char *name)
{
    const uint64_t all_signals = ~UINT64_C(0);
    pc_raw4(__NR_rt_sigprocmask, SIG_SETMASK, pc_pointer(&all_signals), 0, sizeof all_signals);
    long ret = pc_raw5(__NR_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
    pc_raw5(__NR_prctl, PR_SET_NAME, pc_pointer(name), 0, 0, 0);
    pc_raw0(__NR_setsid); /* EPERM: it is its group's leader already */
    pc_close_all(0, SOCKET_FD - 1);
    pc_close_all(HOST_FD + 1, ~0U);
    return ret == 0 && pc_raw1(__NR_chdir, pc_pointer("/")) == 0;
}

uint32_t pc_fds_of(struct msghdr *header, int *fds)
{
    const struct cmsghdr *part = CMSG_FIRSTHDR(header);
    if (part == NULL || part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) {
        return 0;
    }
    size_t size = part->cmsg_len - CMSG_LEN(0);
    memcpy(fds, CMSG_DATA(part), size);
    return (uint32_t)(size / sizeof *fds);
}

uint64_t pc_raise_fd_limit(void)
{
    uint64_t limit[2] = {0, 0};
    pc_raw4(__NR_prlimit64, 0, RLIMIT_NOFILE, 0, pc_pointer(limit));
    uint64_t raised[2] = {limit[1], limit[1]};
    return pc_raw4(__NR_prlimit64, 0, RLIMIT_NOFILE, pc_pointer(raised), 0) == 0 ? limit[1] : limit[0];
}
