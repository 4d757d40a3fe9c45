/* try [NAME=VALUE..] [NAMES..]: runs all attempts, or those named, and prints a line `name=verdict detail` for each. */
#include "attempts.h"

#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* An attempt that takes longer than that is stuck; an emulated processor is slow. */
#define SECONDS 60

static const struct attempt *const tables[] = {
    kernel_files, host_things, privileged_calls, calls_of_all, other_entries, socket_families,
    namespaces,   mounts,      processes,        credentials,  terminals,     devices,
};

static char **parameters;
static int verdict_fd, is_narrowed;
static char scratch_place[64];

static _Noreturn void conclude(const char *verdict, const char *detail)
{
    dprintf(verdict_fd, "%s %s", verdict, detail);
    _exit(0);
}

void reached(const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    conclude("reached", text);
}

void absent(const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    conclude("absent", text);
}

void refused(int error)
{
    conclude("refused", strerrorname_np(error) ? strerrorname_np(error) : "?");
}

static const int nothing_there[] = {ENOENT, ENOTDIR, ENXIO, ENODEV, EAFNOSUPPORT, EPROTONOSUPPORT, ESOCKTNOSUPPORT};

void judge(long answer)
{
    int error = errno;
    for (size_t i = 0; answer < 0 && i < sizeof nothing_there / sizeof *nothing_there; i++) {
        if (error == nothing_there[i]) {
            absent("%s", strerrorname_np(error));
        }
    }
    if (answer < 0) {
        refused(error);
    }
    reached("-");
}

void judge_by(long answer, int proof)
{
    if (answer < 0 && errno == proof) {
        reached("%s", strerrorname_np(proof));
    }
    judge(answer);
}

const char *given(const char *name)
{
    size_t length = strlen(name);
    for (char **each = parameters; *each != NULL; each++) {
        if (strncmp(*each, name, length) == 0 && (*each)[length] == '=') {
            return *each + length + 1;
        }
    }
    return NULL;
}

const char *needed(const char *name)
{
    const char *value = given(name);
    if (value == NULL) {
        absent("no %s", name);
    }
    return value;
}

void narrow(int flags)
{
    if (unshare(flags) < 0) {
        if (given("outside") != NULL) {
            absent("not to be tried here: unshare %s", strerrorname_np(errno));
        }
        return;
    }
    if (flags & CLONE_NEWNS) {
        is_narrowed = 1;
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
    }
}

const char *scratch(void)
{
    if (scratch_place[0] == '\0') {
        absent("no writable directory");
    }
    if (is_narrowed) {
        mount("none", scratch_place, "tmpfs", 0, "size=1m");
    }
    return scratch_place;
}

void try_open(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW);
    if (fd >= 0) {
        reached("%s", path);
    }
    judge(fd);
}

/* What the child wrote, or what became of it when it could not. */
static void report(const struct attempt *attempt)
{
    char text[600];
    int ends[2], status;
    fflush(stdout);
    if (pipe2(ends, O_CLOEXEC) < 0) {
        perror("probe: pipe");
        exit(2);
    }
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGALRM, SIG_DFL);
        alarm(SECONDS);
        close(ends[0]);
        verdict_fd = ends[1];
        attempt->run();
        conclude("broken", "it said nothing");
    }
    close(ends[1]);
    if (pid < 0 || waitpid(pid, &status, 0) != pid) {
        printf("%s=broken %s\n", attempt->name, strerrorname_np(errno));
        close(ends[0]);
        return;
    }
    /* Not until its end: what an attempt leaves behind may hold the pipe. */
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    long length = read(ends[0], text, sizeof text - 1);
    close(ends[0]);
    text[length > 0 ? length : 0] = '\0';
    if (length > 0) {
        text[strcspn(text, "\n")] = '\0';
        printf("%s=%s\n", attempt->name, text);
    } else if (WIFSIGNALED(status)) {
        printf("%s=%s SIG%s\n", attempt->name, WTERMSIG(status) == SIGALRM ? "stuck" : "refused", sigabbrev_np(WTERMSIG(status)));
    } else {
        printf("%s=broken status %d\n", attempt->name, status);
    }
}

static int is_wanted(const char *name)
{
    int any = 0;
    for (char **each = parameters; *each != NULL; each++) {
        any |= strchr(*each, '=') == NULL;
        if (strcmp(*each, name) == 0) {
            return 1;
        }
    }
    return !any;
}

static void make_scratch_place(void)
{
    static const char *const places[] = {"/tmp", "/", "/dev/shm"};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        snprintf(scratch_place, sizeof scratch_place, "%s/probe-XXXXXX", places[i]);
        if (mkdtemp(scratch_place) != NULL) {
            /* Other users' attempts use it, too. */
            chmod(scratch_place, 0777);
            return;
        }
    }
    scratch_place[0] = '\0';
}

int probe_try(int argc, char **argv)
{
    (void)argc;
    parameters = argv + 1;
    remember_inherited_fds();
    make_scratch_place();
    signal(SIGHUP, SIG_IGN);
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        for (const struct attempt *attempt = tables[i]; attempt->name != NULL; attempt++) {
            if (is_wanted(attempt->name)) {
                report(attempt);
            }
        }
    }
    rmdir(scratch_place);
    return 0;
}
