/*
 * The interpreter of the sanitized run: Python with the sanitizers' libraries loaded before all others.
 *
 * A program and no variables in the environment: tests start interpreters with an environment of their own, and the
 * path of this one is sys.executable.  What is set here is taken out of the environment again when Python is up
 * (the .pth file that tools/sanitize.py writes), so that other programs run as ever.
 */
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    (void)argc;
    setenv("LD_PRELOAD", PC_LIBRARIES, 1);
    setenv("ASAN_OPTIONS", PC_SANITIZER_OPTIONS, 1);
    setenv("UBSAN_OPTIONS", PC_SANITIZER_OPTIONS, 1);
    setenv("PYTHONMALLOC", "malloc", 1); /* each object by itself: what C gets of cffi has a guarded end */
    argv[0] = PC_EXECUTABLE;             /* by which it finds its pyvenv.cfg */
    execv(PC_PYTHON, argv);
    return 127;
}
