/* What would trouble everybody who is not kept out of reach: to be run alone, and bounded. */
#include "probe.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* kill-group: a signal to who is in the same process group; it says how that went. */
int probe_kill_group(int argc, char **argv)
{
    (void)argc, (void)argv;
    signal(SIGUSR1, SIG_IGN);
    printf("%s\n", kill(0, SIGUSR1) == 0 ? "sent" : strerrorname_np(errno));
    return 0;
}

/* kill-all: the same to every process that it may reach. */
int probe_kill_all(int argc, char **argv)
{
    (void)argc, (void)argv;
    signal(SIGUSR1, SIG_IGN);
    printf("%s\n", kill(-1, SIGUSR1) == 0 ? "sent" : strerrorname_np(errno));
    return 0;
}

/* eat MEBIBYTES: memory, all of it written to; says "ate" with how much, each 16 MiB. */
int probe_eat(int argc, char **argv)
{
    const size_t step = 16 << 20;
    long left = argc > 1 ? atol(argv[1]) : 64;
    left = left > 1024 ? 1024 : left;
    for (long done = 0; done < left; done += 16) {
        char *place = mmap(NULL, step, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (place == MAP_FAILED) {
            printf("%ld %s\n", done, strerrorname_np(errno));
            return 1;
        }
        memset(place, 1, step);
        printf("%ld\n", done + 16);
        fflush(stdout);
    }
    printf("ate all\n");
    return 0;
}

static int write_all(int fd, const char *block, size_t size)
{
    while (size > 0) {
        long written = write(fd, block, size);
        if (written < 0) {
            return -1;
        }
        block += written;
        size -= (size_t)written;
    }
    return 0;
}

/* fill PATH MEBIBYTES: a file there of that size; says how much of it went in. */
int probe_fill(int argc, char **argv)
{
    static char block[1 << 20];
    char path[4096];
    long left = argc > 2 ? atol(argv[2]) : 1, done = 0;
    left = left > 1024 ? 1024 : left;
    if (argc < 3) {
        return 2;
    }
    memset(block, 1, sizeof block);
    snprintf(path, sizeof path, "%s/fill", argv[1]);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    while (fd >= 0 && done < left && write_all(fd, block, sizeof block) == 0) {
        done++;
    }
    printf("%ld %s\n", done, done == left ? "all" : strerrorname_np(errno));
    unlink(path);
    return 0;
}

/* files PATH COUNT: so many empty files there; says how many. */
int probe_files(int argc, char **argv)
{
    long left = argc > 2 ? atol(argv[2]) : 1, done = 0;
    if (argc < 3 || chdir(argv[1]) < 0) {
        return 2;
    }
    for (char name[32]; done < left; done++) {
        snprintf(name, sizeof name, "f%ld", done);
        if (mknod(name, S_IFREG | 0600, 0) < 0) {
            break;
        }
    }
    printf("%ld %s\n", done, done == left ? "all" : strerrorname_np(errno));
    return 0;
}

/* burn: the processor, by two processes, until somebody ends it, or half a minute is over. */
int probe_burn(int argc, char **argv)
{
    (void)argc, (void)argv;
    printf("burning\n");
    fflush(stdout);
    fork();
    alarm(30);
    for (volatile unsigned long turn = 0;; turn++) {
    }
}

/* flood: output without end. */
int probe_flood(int argc, char **argv)
{
    (void)argc, (void)argv;
    static char block[1 << 16];
    memset(block, 'x', sizeof block);
    while (write(1, block, sizeof block) > 0) {
    }
    return 0;
}
