/*
 * canary: things of the host that a container must not reach, made for a test and gone when its stdin ends.
 * Prints them as words for `try`, then "ready".
 *
 * A listener of an abstract name and one of the loopback address, System V memory and messages, a POSIX message
 * queue, a key of the user, and the process itself, with SECRET in its environment.
 */
#include "attempts.h"

#include <arpa/inet.h>
#include <linux/keyctl.h>
#include <mqueue.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/un.h>

static void listen_abstract(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int length = snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "%s", name);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(fd, (struct sockaddr *)&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length)) == 0 && listen(fd, 8) == 0) {
        printf("abstract=%s\n", name);
    }
}

static void listen_loopback(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(fd, (struct sockaddr *)&address, length) == 0 && listen(fd, 8) == 0 && getsockname(fd, (struct sockaddr *)&address, &length) == 0) {
        printf("port=%d\n", ntohs(address.sin_port));
    }
}

int probe_canary(int argc, char **argv)
{
    (void)argc, (void)argv;
    char name[64], text[64];
    snprintf(name, sizeof name, "probe-canary-%d", getpid());
    /* The name of a process is cut at 15 bytes. */
    snprintf(text, sizeof text, "canary%d", getpid());
    prctl(PR_SET_NAME, text, 0, 0, 0);
    printf("pid=%d\nprocess=%s\n", getpid(), text);
    listen_abstract(name);
    listen_loopback();

    int memory = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0666);
    char *shown = memory < 0 ? (char *)-1 : shmat(memory, NULL, 0);
    if (shown != (char *)-1) {
        strcpy(shown, name);
        printf("shm=%d\ncontent=%s\n", memory, name);
    }
    int queue = msgget(IPC_PRIVATE, IPC_CREAT | 0666);
    if (queue >= 0) {
        struct { long kind; char text[64]; } message = {.kind = 1};
        strcpy(message.text, name);
        msgsnd(queue, &message, sizeof message.text, IPC_NOWAIT);
        printf("msg=%d\n", queue);
    }
    char path[80];
    snprintf(path, sizeof path, "/%s", name);
    mqd_t posix = mq_open(path, O_CREAT | O_EXCL | O_RDWR, 0666, NULL);
    if (posix >= 0) {
        printf("mqueue=%s\n", path);
    }
    long key = syscall(SYS_add_key, "user", name, name, strlen(name), KEY_SPEC_USER_KEYRING);
    if (key >= 0) {
        printf("key=%s\n", name);
    }
    long session = syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0);
    printf("session=%ld\nready\n", session);
    fflush(stdout);

    while (read(0, text, sizeof text) > 0) {
    }
    shmctl(memory, IPC_RMID, NULL);
    msgctl(queue, IPC_RMID, NULL);
    mq_unlink(path);
    syscall(SYS_keyctl, KEYCTL_UNLINK, key, KEY_SPEC_USER_KEYRING);
    return 0;
}
