/* More rights than the program was given. */
#include "attempts.h"

#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#define STRANGER 12345

static int has(int capability)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{0}};
    syscall(SYS_capget, &header, data);
    return data[capability / 32].effective >> capability % 32 & 1;
}

static void raise_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{0}};
    syscall(SYS_capget, &header, data);
    data[0].effective = data[0].permitted |= 1U << CAP_SYS_ADMIN;
    long answer = syscall(SYS_capset, &header, data);
    if (answer == 0 && has(CAP_SYS_ADMIN)) {
        reached("CAP_SYS_ADMIN");
    }
    judge(answer);
}

static void raise_ambient(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{0}};
    syscall(SYS_capget, &header, data);
    data[0].inheritable |= 1U << CAP_SYS_ADMIN;
    syscall(SYS_capset, &header, data);
    judge(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SYS_ADMIN, 0, 0));
}

static void set_secure_bits(void)
{
    judge(prctl(PR_SET_SECUREBITS, SECBIT_KEEP_CAPS | SECBIT_NO_SETUID_FIXUP, 0, 0, 0));
}

/* A copy of this program in a scratch directory; root of a container may make one that belongs to it. */
static const char *copy(void)
{
    static char path[128], buffer[1 << 16];
    narrow(CLONE_NEWNS);
    snprintf(path, sizeof path, "%s/copy", scratch());
    int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), to = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
    for (long length; from >= 0 && to >= 0 && (length = read(from, buffer, sizeof buffer)) > 0;) {
        write(to, buffer, (size_t)length);
    }
    if (from < 0 || to < 0) {
        judge(-1);
    }
    close(to);
    return path;
}

/* Runs it as somebody else, who says by the exit status whether it got what `word` asks for. */
static _Noreturn void run_as_stranger(const char *path, const char *word)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        if (setgroups(0, NULL) < 0 || setresgid(STRANGER, STRANGER, STRANGER) < 0 || setresuid(STRANGER, STRANGER, STRANGER) < 0) {
            _exit(errno);
        }
        execl(path, "probe", word, NULL);
        _exit(errno);
    }
    waitpid(pid, &status, 0);
    unlink(path);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 200) {
        reached("%s", word);
    }
    refused(WIFEXITED(status) && WEXITSTATUS(status) < 200 ? WEXITSTATUS(status) : EPERM);
}

static void set_user_id_program(void)
{
    const char *path = copy();
    if (chmod(path, 04755) < 0) {
        int error = errno;
        unlink(path);
        refused(error);
    }
    run_as_stranger(path, "am-root");
}

static void capable_program(void)
{
    const char *path = copy();
    struct vfs_cap_data data = {.magic_etc = VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE, .data[0].permitted = 1U << CAP_SYS_ADMIN};
    if (setxattr(path, "security.capability", &data, sizeof data, 0) < 0) {
        int error = errno;
        unlink(path);
        refused(error);
    }
    run_as_stranger(path, "am-capable");
}

int probe_am_root(int argc, char **argv)
{
    (void)argc, (void)argv;
    return geteuid() == 0 ? 200 : EPERM;
}

int probe_am_capable(int argc, char **argv)
{
    (void)argc, (void)argv;
    return has(CAP_SYS_ADMIN) ? 200 : EPERM;
}

static void trusted_attribute(void)
{
    narrow(CLONE_NEWNS);
    const char *path = scratch();
    long answer = setxattr(path, "trusted.overlay.opaque", "y", 1, 0);
    if (answer == 0) {
        removexattr(path, "trusted.overlay.opaque");
    }
    judge(answer);
}

static void unset_no_new_privileges(void)
{
    prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0);
    if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 0) {
        reached("it is not set");
    }
    refused(EINVAL);
}

static void without_filter(void)
{
    if (prctl(PR_GET_SECCOMP, 0, 0, 0, 0) == 0) {
        reached("there is none");
    }
    refused(EACCES);
}

const struct attempt credentials[] = {
    {"raise_capabilities", raise_capabilities},
    {"raise_ambient", raise_ambient},
    {"set_securebits", set_secure_bits},
    {"setuid_program", set_user_id_program},
    {"capable_program", capable_program},
    {"trusted_attribute", trusted_attribute},
    {"no_no_new_privs", unset_no_new_privileges},
    {"no_seccomp", without_filter},
    {NULL, NULL},
};
