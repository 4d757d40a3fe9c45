/* Typing into a terminal that somebody else reads, and files behind the streams. */
#include "attempts.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>

/* Whether a letter that was put into a terminal of the attempt's own, its controlling one, can be read there. */
static _Noreturn void type_by(unsigned long request)
{
    char letter = 'x', name[64];
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (master < 0 || grantpt(master) < 0 || unlockpt(master) < 0 || ptsname_r(master, name, sizeof name) != 0) {
        judge(-1);
    }
    setsid();
    int slave = open(name, O_RDWR | O_CLOEXEC);
    struct termios raw;
    if (slave < 0 || tcgetattr(slave, &raw) < 0) {
        judge(-1);
    }
    cfmakeraw(&raw);
    tcsetattr(slave, TCSANOW, &raw);
    if (syscall(SYS_ioctl, slave, request, &letter) < 0) {
        judge(-1);
    }
    struct pollfd typed = {.fd = slave, .events = POLLIN};
    if (poll(&typed, 1, 1000) == 1) {
        reached("typed");
    }
    refused(ENODATA);
}

static void tiocsti(void)
{
    type_by(TIOCSTI);
}

static void tiocsti_high_bits(void)
{
    type_by(0x100000000UL | TIOCSTI);
}

/* Pastes in the console's terminals; others do not know the request, which tells that it got there. */
static _Noreturn void console_by(unsigned long request)
{
    char what = 3; /* TIOCL_PASTESEL */
    int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    judge_by(fd < 0 ? fd : syscall(SYS_ioctl, fd, request, &what), ENOTTY);
}

static void tioclinux(void)
{
    console_by(TIOCLINUX);
}

static void tioclinux_high_bits(void)
{
    console_by(0x100000000UL | TIOCLINUX);
}

/* The code behind a terminal is changed by its owner, and loaded as a module where it is not there. */
static void line_discipline(void)
{
    int what = 13 /* N_HDLC */, fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (strcmp(needed("families"), "all") != 0) {
        absent("not tried");
    }
    judge_by(fd < 0 ? fd : ioctl(fd, TIOCSETD, &what), EINVAL);
}

/* A file given for reading, or for appending, opens again for more by its link in /proc. */
static void reopen_streams(void)
{
    for (int fd = 0; fd < 3; fd++) {
        char path[64];
        struct stat status;
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode)) {
            int again = open(path, O_RDWR | O_CLOEXEC);
            if (again >= 0) {
                reached("%d", fd);
            }
            refused(errno);
        }
    }
    refused(ENOTSUP);
}

const struct attempt terminals[] = {
    {"tiocsti", tiocsti},
    {"tiocsti_high_bits", tiocsti_high_bits},
    {"tioclinux", tioclinux},
    {"tioclinux_high_bits", tioclinux_high_bits},
    {"line_discipline", line_discipline},
    {"reopen_streams", reopen_streams},
    {NULL, NULL},
};
