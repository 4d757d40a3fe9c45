/*
 * A static program as an ordinary one, so that the sanitizers' libraries can be in it: entry and clone.
 *
 * freestanding.c is linked as it is, but for its _start and its memcpy, memmove, memset and memcmp, which are renamed
 * (tools/sanitize.py): calls of these go to the sanitizer's, which look at what is copied.
 */
#include "freestanding.h"

#include <sanitizer/asan_interface.h>

/* The stack that init.c gives the program's process. */
enum { STACK = 4096 };

/* The programs have nobody's environment to be told by. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return PC_SANITIZER_OPTIONS;
}

const char *__ubsan_default_options(void);
const char *__ubsan_default_options(void)
{
    return PC_SANITIZER_OPTIONS;
}

long pc_freestanding_clone_call(unsigned long flags, void *stack_end, int (*function)(void *), void *argument);

long pc_clone_call(unsigned long flags, void *stack_end, int (*function)(void *), void *argument)
{
    long ret = pc_freestanding_clone_call(flags, stack_end, function, argument);
    /* Who executes does not return through its frames: the sanitizer takes them for there still. */
    __asan_unpoison_memory_region((char *)stack_end - STACK, STACK);
    return ret;
}

int main(int argc, char **argv, char **envp)
{
    pc_exit(pc_main(argc, argv, envp));
}
