/*
 * For clang's analyzer alone, in place of rawsys.h: calls about which it knows nothing.
 *
 * It believes that the assembler there changes no memory, and takes all that the kernel has written for garbage.
 */
#ifndef PC_RAWSYS_H
#define PC_RAWSYS_H

#include <asm/unistd.h>

long pc_raw0(long nr);
long pc_raw1(long nr, long a);
long pc_raw2(long nr, long a, long b);
long pc_raw3(long nr, long a, long b, long c);
long pc_raw4(long nr, long a, long b, long c, long d);
long pc_raw5(long nr, long a, long b, long c, long d, long e);
long pc_raw6(long nr, long a, long b, long c, long d, long e, long f);

#endif
