/* New namespaces, in which a program is root and reaches code of the kernel that is otherwise for root alone. */
#include "attempts.h"

#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define UNSHARE(name, flags)       \
    static void unshare_##name(void) \
    {                              \
        judge(unshare(flags));     \
    }

UNSHARE(user, CLONE_NEWUSER)
UNSHARE(mount, CLONE_NEWNS)
UNSHARE(pid, CLONE_NEWPID)
UNSHARE(net, CLONE_NEWNET)
UNSHARE(ipc, CLONE_NEWIPC)
UNSHARE(uts, CLONE_NEWUTS)
UNSHARE(cgroup, CLONE_NEWCGROUP)
UNSHARE(time, CLONE_NEWTIME)

static _Noreturn void in_child(long pid)
{
    if (pid == 0) {
        _exit(0);
    }
    if (pid > 0) {
        waitpid((pid_t)pid, NULL, __WALL);
    }
    judge(pid);
}

static void clone_user(void)
{
    in_child(syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0));
}

static void clone_cgroup(void)
{
    in_child(syscall(SYS_clone, CLONE_NEWCGROUP | SIGCHLD, 0, 0, 0, 0));
}

/* A bit above the 32 that are flags must not hide one of them. */
static void clone_user_high_bits(void)
{
    in_child(syscall(SYS_clone, 1UL << 40 | CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0));
}

static _Noreturn void by_clone3(unsigned long long flags)
{
    struct clone_args how = {.flags = flags, .exit_signal = SIGCHLD};
    in_child(syscall(SYS_clone3, &how, sizeof how));
}

static void clone3_user(void)
{
    by_clone3(CLONE_NEWUSER);
}

static void clone3_mount(void)
{
    by_clone3(CLONE_NEWNS);
}

static void write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        write(fd, text, strlen(text));
        close(fd);
    }
}

/* Root of a user namespace, with `more` namespaces that belong to it. */
static void become_root_of(int more)
{
    char map[64];
    int uid = geteuid(), gid = getegid();
    if (unshare(CLONE_NEWUSER | more) < 0) {
        refused(errno);
    }
    write_file("/proc/self/setgroups", "deny");
    snprintf(map, sizeof map, "0 %d 1", uid);
    write_file("/proc/self/uid_map", map);
    snprintf(map, sizeof map, "0 %d 1", gid);
    write_file("/proc/self/gid_map", map);
    if (more & CLONE_NEWNS) {
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
    }
}

static void nested_root(void)
{
    become_root_of(0);
    if (geteuid() != 0) {
        refused(EPERM);
    }
    reached("root of it");
}

static void nested_overlay(void)
{
    char options[512], path[128];
    become_root_of(CLONE_NEWNS);
    const char *place = scratch();
    if (mount("none", place, "tmpfs", 0, "size=1m") < 0) {
        judge(-1);
    }
    for (const char *const *name = (const char *const[]){"l", "u", "w", "m", NULL}; *name != NULL; name++) {
        snprintf(path, sizeof path, "%s/%s", place, *name);
        mkdir(path, 0700);
    }
    snprintf(options, sizeof options, "lowerdir=%s/l,upperdir=%s/u,workdir=%s/w", place, place, place);
    snprintf(path, sizeof path, "%s/m", place);
    judge(mount("none", path, "overlay", 0, options));
}

static void nested_legacy_parameter(void)
{
    become_root_of(CLONE_NEWNS);
    /* CVE-2022-0185 was in the parser of these. */
    long fd = syscall(SYS_fsopen, "tmpfs", 1 /* FSOPEN_CLOEXEC */);
    judge(fd < 0 ? fd : syscall(SYS_fsconfig, fd, 1 /* FSCONFIG_SET_STRING */, "size", "1m", 0));
}

/* A table by nfnetlink in a batch, as nft(8) does it; whether one was made is the kernel's answer. */
static _Noreturn void add_nft_table(void)
{
    struct {
        struct nlmsghdr begin;
        struct nfgenmsg begin_body;
        struct nlmsghdr table;
        struct nfgenmsg table_body;
        struct nlattr name_head;
        char name[8];
        struct nlmsghdr end;
        struct nfgenmsg end_body;
    } batch = {
        .begin = {.nlmsg_len = 20, .nlmsg_type = NFNL_MSG_BATCH_BEGIN, .nlmsg_flags = NLM_F_REQUEST},
        .begin_body = {.res_id = 0x0a00}, /* NFNL_SUBSYS_NFTABLES, in network order */
        .table = {.nlmsg_len = 32, .nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWTABLE, .nlmsg_flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_ACK, .nlmsg_seq = 1},
        .table_body = {.nfgen_family = AF_INET},
        .name_head = {.nla_len = 12, .nla_type = NFTA_TABLE_NAME},
        .name = "probe",
        .end = {.nlmsg_len = 20, .nlmsg_type = NFNL_MSG_BATCH_END, .nlmsg_flags = NLM_F_REQUEST},
        .end_body = {.res_id = 0x0a00},
    };
    struct {
        struct nlmsghdr head;
        struct nlmsgerr error;
        char rest[512];
    } answer;
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
    if (fd < 0) {
        judge(fd);
    }
    struct timeval patience = {.tv_sec = 10};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (send(fd, &batch, sizeof batch, 0) < 0 || recv(fd, &answer, sizeof answer, 0) < (long)(sizeof answer.head + sizeof answer.error)) {
        judge(-1);
    }
    errno = -answer.error.error;
    /* The subsystem is not built, or would come as a module. */
    if (errno == EOPNOTSUPP || (errno == EINVAL && given("families") == NULL)) {
        absent("%s", strerrorname_np(errno));
    }
    judge(errno == 0 ? 0 : -1);
}

static void nested_nft(void)
{
    become_root_of(CLONE_NEWNET);
    add_nft_table();
}

/* In the container's own network; on a host, in a new one. */
static void own_nft(void)
{
    narrow(CLONE_NEWNET);
    add_nft_table();
}

static void nested_cgroup_mount(void)
{
    become_root_of(CLONE_NEWNS | CLONE_NEWCGROUP);
    judge(mount("none", scratch(), "cgroup2", 0, NULL));
}

/* What to mount a hierarchy of version 1 by that is there, such as "none,name=systemd". */
static const char *some_hierarchy(void)
{
    static char text[4096], options[300];
    slurp("/proc/self/cgroup", text, sizeof text);
    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        char *controllers = strchr(line, ':') + 1, *end = strchr(controllers, ':');
        *end = '\0';
        if (*controllers != '\0') {
            snprintf(options, sizeof options, "%s%s", strncmp(controllers, "name=", 5) == 0 ? "none," : "", controllers);
            return options;
        }
    }
    absent("no hierarchy of version 1");
}

/* CVE-2022-0492: release_agent of a hierarchy of version 1 names a program that the host executes. */
static void nested_release_agent(void)
{
    char path[128];
    const char *options = some_hierarchy();
    become_root_of(CLONE_NEWNS | CLONE_NEWCGROUP);
    const char *place = scratch();
    if (mount("none", place, "cgroup", 0, options) < 0) {
        judge(-1);
    }
    snprintf(path, sizeof path, "%s/release_agent", place);
    judge(open(path, O_WRONLY | O_CLOEXEC));
}

const struct attempt namespaces[] = {
    {"unshare_user", unshare_user},
    {"unshare_mount", unshare_mount},
    {"unshare_pid", unshare_pid},
    {"unshare_net", unshare_net},
    {"unshare_ipc", unshare_ipc},
    {"unshare_uts", unshare_uts},
    {"unshare_cgroup", unshare_cgroup},
    {"unshare_time", unshare_time},
    {"clone_user", clone_user},
    {"clone_user_high_bits", clone_user_high_bits},
    {"clone_cgroup", clone_cgroup},
    {"clone3_user", clone3_user},
    {"clone3_mount", clone3_mount},
    {"nested_root", nested_root},
    {"nested_overlay", nested_overlay},
    {"nested_fsconfig", nested_legacy_parameter},
    {"nested_nft", nested_nft},
    {"nested_cgroup_mount", nested_cgroup_mount},
    {"nested_release_agent", nested_release_agent},
    {"own_nft", own_nft},
    {NULL, NULL},
};
