// SPDX-License-Identifier: Apache-2.0
// The smallest program: exit(0) and nothing else, so that the load is the
// kernel's work for an exec and not a program's start-up.
void _start(void)
{
#if defined(__x86_64__)
	__asm__ volatile("mov $60, %eax; xor %edi, %edi; syscall");
#elif defined(__aarch64__)
	__asm__ volatile("mov x8, #93; mov x0, #0; svc #0");
#endif
	__builtin_unreachable();
}
