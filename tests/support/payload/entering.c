/* What is tried around the host's entering of a container: things to find, to hold, to inject, to trip over. */
#include "probe.h"

#include <dirent.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

static const char *outcome(long ret)
{
    return ret < 0 ? strerrorname_np(errno) : "done";
}

static void until_input_ends(void)
{
    printf("ready\n");
    fflush(stdout);
    struct pollfd input = {.fd = 0, .events = POLLIN};
    poll(&input, 1, -1);
}

static char content[1 << 20];

static void look(const char *where, const char *bytes, long length, char **tokens)
{
    for (; *tokens != NULL; tokens++) {
        if (length > 0 && memmem(bytes, (size_t)length, *tokens, strlen(*tokens)) != NULL) {
            printf("found %s in %s\n", *tokens, where);
        }
    }
}

static void look_at_stack(char **tokens)
{
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps != NULL && fgets(line, sizeof line, maps) != NULL) {
        unsigned long start, end;
        if (strstr(line, "[stack]") != NULL && sscanf(line, "%lx-%lx", &start, &end) == 2) {
            /* Behind the strings of this program: what the kernel has put there, and its own words. */
            look("the stack above the words", (char *)end - 64, 64, tokens);
        }
    }
    if (maps != NULL) {
        fclose(maps);
    }
}

/* search WORDS: in all that /proc tells of every process. The words come backwards, or they would be found here. */
static int search(int count, char **words)
{
    static const char *const files[] = {"environ", "cmdline", "auxv", "maps", "cgroup", "mountinfo", "mounts", "mountstats",
                                        "comm", "stat", "status", "limits", "loginuid", "attr/current", "timerslack_ns"};
    static const char *const links[] = {"exe", "cwd", "root"};
    char *tokens[32] = {NULL};
    for (int i = 0; i < count && i < 31; i++) {
        tokens[i] = strdup(words[i]);
        for (size_t at = 0, length = strlen(words[i]); at < length; at++) {
            tokens[i][at] = words[i][length - 1 - at];
        }
    }
    int seen = 0;
    DIR *processes = opendir("/proc");
    for (struct dirent *each; processes != NULL && (each = readdir(processes)) != NULL;) {
        char path[600], target[4096];
        if (atoi(each->d_name) == 0) {
            continue;
        }
        seen++;
        for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
            snprintf(path, sizeof path, "/proc/%s/%s", each->d_name, files[i]);
            look(path, content, slurp(path, content, sizeof content), tokens);
        }
        for (size_t i = 0; i < sizeof links / sizeof *links; i++) {
            snprintf(path, sizeof path, "/proc/%s/%s", each->d_name, links[i]);
            look(path, target, readlink(path, target, sizeof target), tokens);
        }
        snprintf(path, sizeof path, "/proc/%s/fd", each->d_name);
        DIR *fds = opendir(path);
        for (struct dirent *fd; fds != NULL && (fd = readdir(fds)) != NULL;) {
            look(path, target, readlinkat(dirfd(fds), fd->d_name, target, sizeof target), tokens);
        }
        if (fds != NULL) {
            closedir(fds);
        }
    }
    look_at_stack(tokens);
    printf("searched %d for %d\n", seen, count);
    return 0;
}

/* lease FILE: whoever opens it has to wait, up to the host's lease-break-time. */
static int hold_lease(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    signal(SIGIO, SIG_IGN);
    if (write(fd, "leased", 6) != 6 || fcntl(fd, F_SETLEASE, F_WRLCK) < 0) {
        printf("%s\n", strerrorname_np(errno));
        return 1;
    }
    until_input_ends();
    return 0;
}

/* grow FILE: appends to it as fast as it can. */
static int grow(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    struct pollfd input = {.fd = 0, .events = POLLIN};
    write(fd, content, 65536);
    printf("ready\n");
    fflush(stdout);
    for (off_t size = 0; poll(&input, 1, 0) == 0; size += 65536) {
        write(fd, content, 65536);
        if (size > 256 << 20) {
            ftruncate(fd, 65536); /* the disk is not ours */
            size = 0;
        }
    }
    return 0;
}

static int many(const char *path, long count)
{
    int folder = open(path, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    for (long i = 0; i < count; i++) {
        char name[32];
        snprintf(name, sizeof name, "%ld", i);
        int fd = openat(folder, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
        if (fd < 0) {
            perror("many");
            return 1;
        }
        close(fd);
    }
    return 0;
}

/* odd PATH: names that are no text, that break lines, that colour terminals. */
static int odd(const char *path)
{
    static const char *const names[] = {"a\nb", "\xff\xfe", "\x1b[31mred", " ", "-rf", "'\"$(x)", "\\", "..\xe2\x80\xae",
                                        "%s%n", "~", "*", ".wh.x", ".wh..wh..opq", ".pycontainer-0"};
    char longest[256];
    memset(longest, 'n', 255);
    longest[255] = '\0';
    if (chdir(path) < 0) {
        return 1;
    }
    for (size_t i = 0; i <= sizeof names / sizeof *names; i++) {
        const char *name = i < sizeof names / sizeof *names ? names[i] : longest;
        int fd = open(name, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
        if (fd < 0 || write(fd, name, strlen(name)) < 0 || close(fd) < 0) {
            perror(name);
            return 1;
        }
    }
    return 0;
}

/* special PATH KIND: a fifo, or a socket. */
static int special(const char *path, const char *kind)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    return strcmp(kind, "fifo") == 0 ? mkfifo(path, 0666)
                                     : bind(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&address, sizeof address);
}

/* inject: into the terminal that is its standard input. */
static int inject(void)
{
    static const struct {
        const char *name;
        unsigned long number;
    } ways[] = {{"TIOCSTI", 0x5412}, {"TIOCSTI, 33 bits", 0x100005412}, {"TIOCLINUX", 0x541c}};
    char text[] = "injected\n", selection[] = {3, 'x'};
    printf("before TIOCSCTTY %s\n", outcome(ioctl(0, TIOCSCTTY, 0)));
    printf("stealing TIOCSCTTY %s\n", outcome(ioctl(0, TIOCSCTTY, 1)));
    printf("by name %s\n", outcome(open("/proc/self/fd/0", O_RDWR | O_CLOEXEC)));
    for (size_t way = 0; way < sizeof ways / sizeof *ways; way++) {
        long ret = 0;
        for (size_t i = 0; ret == 0 && i < sizeof text - 1; i++) {
            ret = ioctl(0, ways[way].number, way == 2 ? selection : text + i);
        }
        printf("%s %s\n", ways[way].name, outcome(ret));
    }
    return 0;
}

/* pipe FILE: writes to it through a pipe that its pages were put into, with nothing but the right to read. */
static int by_pipe(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC), ends[2];
    static char page[65536];
    if (fd < 0 || pipe(ends) < 0) {
        printf("%s\n", strerrorname_np(errno));
        return 1;
    }
    /* A pipe whose every buffer was once one that may be appended to (CVE-2022-0847). */
    fcntl(ends[1], F_SETPIPE_SZ, sizeof page);
    write(ends[1], page, sizeof page);
    read(ends[0], page, sizeof page);
    off64_t at = 0;
    printf("splice %s\n", outcome(splice(fd, &at, ends[1], NULL, 1, 0)));
    printf("write %s\n", outcome(write(ends[1], "WRITTEN", 7)));
    return 0;
}

/* groups FILE: reads it once more with no group, that a group denies. */
static int groups(const char *path)
{
    printf("before %s\n", outcome(open(path, O_RDONLY | O_CLOEXEC)));
    printf("setgroups %s\n", outcome(setgroups(0, NULL)));
    printf("after %s\n", outcome(open(path, O_RDONLY | O_CLOEXEC)));
    return 0;
}

/* shares FILES: maps each to be written, and says which could be. */
static int shares(char **paths)
{
    for (; *paths != NULL; paths++) {
        int fd = open(*paths, O_RDONLY | O_CLOEXEC);
        char again[64];
        snprintf(again, sizeof again, "/proc/self/fd/%d", fd);
        printf("%s open %s\n", *paths, outcome(fd));
        printf("%s write %s\n", *paths, outcome(open(again, O_WRONLY | O_CLOEXEC)));
        printf("%s truncate %s\n", *paths, outcome(truncate(again, 0)));
        printf("%s chmod %s\n", *paths, outcome(chmod(again, 0)));
        printf("%s map %s\n", *paths,
               outcome(mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED ? -1 : 0));
        int seals = fcntl(fd, F_GET_SEALS);
        printf("%s seals %d\n", *paths, seals);
    }
    return 0;
}

int probe_enter(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "", *path = argc > 2 ? argv[2] : "";
    if (!strcmp(what, "search")) {
        return search(argc - 2, argv + 2);
    } else if (!strcmp(what, "lease")) {
        return hold_lease(path);
    } else if (!strcmp(what, "grow")) {
        return grow(path);
    } else if (!strcmp(what, "many")) {
        return many(path, argc > 3 ? atol(argv[3]) : 0);
    } else if (!strcmp(what, "odd")) {
        return odd(path);
    } else if (!strcmp(what, "special")) {
        return special(path, argc > 3 ? argv[3] : "");
    } else if (!strcmp(what, "inject")) {
        return inject();
    } else if (!strcmp(what, "pipe")) {
        return by_pipe(path);
    } else if (!strcmp(what, "groups")) {
        return groups(path);
    } else if (!strcmp(what, "shares")) {
        return shares(argv + 2);
    }
    return 2;
}
