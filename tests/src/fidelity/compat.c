/* Makes 32-bit calls without a C library; argument 1 is a file. gcc -m32 -nostdlib -static */
static long call(long number, long a, long b, long c)
{
	long result;
	__asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c) : "memory");
	return result;
}

__asm__(".globl _start\n_start: pushl %esp\ncall begin\n");

void begin(long *stack)
{
	char byte[1] = "x";
	int pair[2];
	long file = call(5, stack[2], 02 | 0100, 0600); /* open */
	long copy = call(41, file, 0, 0);               /* dup */
	call(4, copy, (long)byte, 1);                   /* write */
	call(63, file, 20, 0);                          /* dup2 */
	call(19, 20, 0, 0);                             /* lseek */
	call(3, 20, (long)byte, 1);                     /* read */
	call(42, (long)pair, 0, 0);                     /* pipe */
	call(4, pair[1], (long)byte, 1);
	call(3, pair[0], (long)byte, 1);
	long socket = call(359, 2, 1, 0);               /* socket */
	call(6, socket, 0, 0);                          /* close */
	call(1, 0, 0, 0);                               /* exit */
}
