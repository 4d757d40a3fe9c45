/* Programs that are hard to get rid of, and trees that are hard to walk. */
#include "probe.h"

#include <linux/fs.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static void ignore_all(void)
{
    for (int number = 1; number < 65; number++) {
        signal(number, SIG_IGN);
    }
}

/* swap ONE OTHER: exchanges two names until stdin ends; then says how often. */
int probe_swap(int argc, char **argv)
{
    unsigned long rounds = 0;
    struct pollfd input = {.fd = 0, .events = POLLIN};
    if (argc != 3) {
        return 2;
    }
    printf("ready\n");
    fflush(stdout);
    while (poll(&input, 1, 0) == 0) {
        for (int i = 0; i < 64; i++) {
            rounds += syscall(SYS_renameat2, AT_FDCWD, argv[1], AT_FDCWD, argv[2], RENAME_EXCHANGE) == 0;
        }
    }
    printf("%lu\n", rounds);
    return 0;
}

/* daemon NAME: forks twice, in a session of its own, ignores every signal, keeps its stdout; the first goes on. */
int probe_daemon(int argc, char **argv)
{
    int after = argc > 2 && strcmp(argv[2], "stay") == 0;
    if (fork() == 0) {
        setsid();
        ignore_all();
        if (fork() != 0) {
            _exit(0);
        }
        chdir("/");
        for (;;) {
            pause();
        }
    }
    wait(NULL);
    if (after) {
        ignore_all();
        for (;;) {
            pause();
        }
    }
    return 0;
}

/* forks COUNT [end]: that many processes at most, of which none ends, but for the first if told so. Says how many. */
int probe_forks(int argc, char **argv)
{
    long left = argc > 1 ? atol(argv[1]) : 16, made = 0;
    left = left > 512 ? 512 : left; /* the machine is not ours */
    ignore_all();
    while (made < left) {
        pid_t pid = fork();
        if (pid < 0) {
            break;
        }
        if (pid == 0) {
            for (;;) {
                pause();
            }
        }
        made++;
    }
    printf("%ld %s\n", made, made < left ? strerrorname_np(errno) : "all");
    fflush(stdout);
    if (argc > 2 && strcmp(argv[2], "end") == 0) {
        return 0;
    }
    for (;;) {
        pause();
    }
}

/* stop: children, and then everything that can be reached, are stopped. */
int probe_stop(int argc, char **argv)
{
    (void)argc, (void)argv;
    for (int i = 0; i < 4; i++) {
        if (fork() == 0) {
            for (;;) {
                pause();
            }
        }
    }
    printf("stopped\n");
    fflush(stdout);
    kill(-1, SIGSTOP);
    raise(SIGSTOP);
    for (;;) {
        pause();
    }
}

/* deep PATH LEVELS: directories in each other, with a file in the last. */
int probe_deep(int argc, char **argv)
{
    if (argc != 3 || chdir(argv[1]) < 0) {
        return 2;
    }
    for (long left = atol(argv[2]); left > 0; left--) {
        if (mkdir("d", 0700) < 0 || chdir("d") < 0) {
            perror("deep");
            return 1;
        }
    }
    return open("last", O_CREAT | O_WRONLY, 0) < 0;
}

/* bigdir PATH COUNT: names with every byte, directories without any permission. */
int probe_bigdir(int argc, char **argv)
{
    if (argc != 3 || chdir(argv[1]) < 0) {
        return 2;
    }
    for (long i = 0; i < atol(argv[2]); i++) {
        char name[64];
        snprintf(name, sizeof name, "%c\n\t\xff\\%ld", (char)(i % 46 + 1), i);
        if (mkdir(name, 0) < 0) {
            perror("bigdir");
            return 1;
        }
    }
    return 0;
}
