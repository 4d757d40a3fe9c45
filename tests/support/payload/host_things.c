/* The host's own: canaries that the test made, told on the command line (see canary.c). */
#include "attempts.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <linux/keyctl.h>
#include <mqueue.h>
#include <netinet/in.h>
#include <signal.h>
#include <stddef.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

static char inherited[512];

void remember_inherited_fds(void)
{
    for (int fd = 3; fd < 1024; fd++) {
        if (fcntl(fd, F_GETFD) >= 0 && strlen(inherited) < sizeof inherited - 8) {
            sprintf(inherited + strlen(inherited), "%d ", fd);
        }
    }
}

static void inherited_fds(void)
{
    if (inherited[0] != '\0') {
        reached("%s", inherited);
    }
    refused(EBADF);
}

static void host_file(void)
{
    static const char *const ways[] = {
        "", "/..", "/proc/1/root", "/proc/self/root/..", "/proc/1/cwd/../../../../../../..", "/proc/self/cwd/../../../../..", "/dev/fd/../../root", "/proc/thread-self/root",
    };
    const char *file = needed("file");
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        char path[4096];
        struct stat status;
        snprintf(path, sizeof path, "%s%s", ways[i], file);
        if (stat(path, &status) == 0) {
            reached("by %s", path);
        }
    }
    refused(ENOENT);
}

/* Each process that can be seen, until one has `wanted` in a file of it. */
static int is_found(const char *file, const char *wanted)
{
    static char text[1 << 16];
    DIR *directory = opendir("/proc");
    if (directory == NULL) {
        return 0;
    }
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        char path[300];
        if (atoi(entry->d_name) == 0 || atoi(entry->d_name) == getpid() || atoi(entry->d_name) == getppid()) {
            continue;
        }
        snprintf(path, sizeof path, "/proc/%s/%s", entry->d_name, file);
        long length = slurp(path, text, sizeof text);
        if (length > 0 && memmem(text, (size_t)length, wanted, strlen(wanted)) != NULL) {
            return atoi(entry->d_name);
        }
    }
    closedir(directory);
    return 0;
}

static void host_process(void)
{
    int pid = is_found("comm", needed("process"));
    if (pid > 0) {
        reached("pid %d", pid);
    }
    refused(ESRCH);
}

static void host_environment(void)
{
    int pid = is_found("environ", needed("secret"));
    if (pid > 0) {
        reached("of pid %d", pid);
    }
    refused(ESRCH);
}

/* Numbers mean others in another namespace: the name tells. */
static int canary_pid(void)
{
    char path[64], text[64];
    int pid = atoi(needed("pid"));
    snprintf(path, sizeof path, "/proc/%d/comm", pid);
    if (slurp(path, text, sizeof text) < 0 || strncmp(text, needed("process"), strlen(needed("process"))) != 0) {
        refused(ESRCH);
    }
    return pid;
}

static void host_signal(void)
{
    judge(kill(canary_pid(), 0));
}

static void host_pidfd(void)
{
    judge(syscall(SYS_pidfd_open, canary_pid(), 0));
}

static void host_priority(void)
{
    /* As it is. */
    judge(syscall(SYS_setpriority, 0, canary_pid(), 0));
}

static void abstract_socket(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int length = snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "%s", needed("abstract"));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    judge(fd < 0 ? fd : connect(fd, (struct sockaddr *)&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length)));
}

static void loopback(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    address.sin_port = htons((unsigned short)atoi(needed("port")));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    judge(fd < 0 ? fd : connect(fd, (struct sockaddr *)&address, sizeof address));
}

/* A datagram to an address of documentation (RFC 5737): only whether there is a way is asked, nothing is sent. */
static void route_outside(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = inet_addr("192.0.2.1"), .sin_port = htons(9)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    judge(fd < 0 ? fd : connect(fd, (struct sockaddr *)&address, sizeof address));
}

static void sysv_memory(void)
{
    const char *content = needed("content");
    char *shown = shmat(atoi(needed("shm")), NULL, SHM_RDONLY);
    if (shown == (char *)-1) {
        judge(-1);
    }
    if (strcmp(shown, content) == 0) {
        reached("%s", shown);
    }
    refused(EIDRM);
}

static void sysv_messages(void)
{
    struct { long kind; char text[64]; } message;
    if (msgrcv(atoi(needed("msg")), &message, sizeof message.text, 0, IPC_NOWAIT | 040000 /* MSG_COPY */) < 0 && errno != ENOSYS) {
        judge(-1);
    }
    reached("%s", errno == ENOSYS ? "it is there" : message.text);
}

static void posix_queue(void)
{
    errno = 0;
    mqd_t queue = mq_open(needed("mqueue"), O_RDWR);
    if (queue < 0) {
        refused(errno);
    }
    reached("%s", needed("mqueue"));
}

static void host_key(void)
{
    char text[64] = "";
    long key = syscall(SYS_keyctl, KEYCTL_SEARCH, KEY_SPEC_USER_KEYRING, "user", needed("key"), 0);
    if (key < 0 || syscall(SYS_keyctl, KEYCTL_READ, key, text, sizeof text - 1) < 0) {
        refused(errno);
    }
    reached("%s", text);
}

static void session_keyring(void)
{
    long session = syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0);
    if (session >= 0 && session == atol(needed("session"))) {
        reached("%ld", session);
    }
    refused(session < 0 ? errno : EKEYREVOKED);
}

static void host_name(void)
{
    char text[256] = "";
    gethostname(text, sizeof text - 1);
    if (strcmp(text, needed("hostname")) == 0) {
        reached("%s", text);
    }
    refused(ENODATA);
}

static void host_interfaces(void)
{
    static char text[1 << 16];
    if (slurp("/proc/self/net/dev", text, sizeof text) < 0) {
        judge(-1);
    }
    if (strstr(text, needed("link")) != NULL) {
        reached("%s", needed("link"));
    }
    refused(ENODEV);
}

const struct attempt host_things[] = {
    {"inherited_fds", inherited_fds},
    {"host_file", host_file},
    {"host_process", host_process},
    {"host_environment", host_environment},
    {"host_signal", host_signal},
    {"host_pidfd", host_pidfd},
    {"host_priority", host_priority},
    {"host_abstract_socket", abstract_socket},
    {"host_loopback", loopback},
    {"route_outside", route_outside},
    {"host_sysv_memory", sysv_memory},
    {"host_sysv_messages", sysv_messages},
    {"host_posix_queue", posix_queue},
    {"host_key", host_key},
    {"host_session_keyring", session_keyring},
    {"host_name", host_name},
    {"host_network_links", host_interfaces},
    {NULL, NULL},
};
