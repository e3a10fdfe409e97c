/* SPDX-License-Identifier: GPL-2.0 */
/* What differs between the architectures: the names and numbers of the calls that
 * execute programs, whether a task makes them as a 32-bit program, the arguments of
 * a call at its end (ARGn), and the first of a function at its beginning. */
#ifndef SENTINELD_ARCH_H
#define SENTINELD_ARCH_H

#if defined(__TARGET_ARCH_x86)
#define SYSCALL "__x64_sys_"
#define NR_EXECVE 59
#define NR_EXECVEAT 322
#define IS_32BIT(p) (READ(p, thread_info.status) & 2) /* TS_COMPAT */
#define NR(regs) ((int)READ(regs, orig_ax))
#define ARG0(regs) READ(regs, di)
#define ARG1(regs) READ(regs, si)
#define ARG2(regs) READ(regs, dx)
#define ARG4(regs) READ(regs, r8)
#define FIRST(regs) READ(regs, di)
#else
#define SYSCALL "__arm64_sys_"
#define NR_EXECVE 221
#define NR_EXECVEAT 281
#define IS_32BIT(p) (READ(p, thread_info.flags) >> 22 & 1) /* TIF_32BIT */
#define NR(regs) READ(regs, syscallno)
#define ARG0(regs) READ(regs, orig_x0) /* the result stands in the register */
#define ARG1(regs) READ(regs, regs[1])
#define ARG2(regs) READ(regs, regs[2])
#define ARG4(regs) READ(regs, regs[4])
#define FIRST(regs) READ(regs, regs[0])
#endif

#endif
