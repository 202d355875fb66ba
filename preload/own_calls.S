/* SPDX-License-Identifier: BSD-3-Clause
 * From a system call that a program makes by an instruction of its own to the library (own_calls.c). What comes here has its number in
 * rax, arguments in rdi, rsi, rdx, r10, r8, r9, and in r11 where it goes on; as after a system call, rax has the result, rcx and r11 are
 * lost and everything else is as it was. (xmm registers are lost, too: for Go's assembly all but xmm15, which is zero.)
 *
 * The stack may be a goroutine's, without room for a call, so that each thread has some of its own: one for the call, one for a call of a
 * handler that interrupts it, and so on. Who is past `addq` has the slot; a handler that comes before or after takes and gives back the same.
 *
 * struct own_stacks, for each thread: long in_use (bytes), then slots: */
#if defined(__x86_64__)
#define SLOT 128
#define SLOTS 3
#define STACK_BYTES 2031616
/* from a slot's beginning */
#define TOP 0
#define RSP 8
#define SAVED 16
#define SYS_mmap 9

    .text
    .globl own_call_entry, own_call_cloned
    .hidden own_call_entry, own_call_cloned
    .type own_call_entry, @function
    .type own_call_cloned, @function

/* rcx: the thread's slot, now this call's. At `none` nothing was taken. */
.macro take none
    movq own_stacks@gottpoff(%rip), %rcx
    cmpq $(SLOT * SLOTS), %fs:(%rcx)
    jae \none
    addq $SLOT, %fs:(%rcx)
    addq %fs:(%rcx), %rcx
    cmpq $0, %fs:TOP(%rcx)
    jne 7f
    /* its first use: memory */
    movq %rax, %fs:SAVED(%rcx)
    movq %rdi, %fs:SAVED+8(%rcx)
    movq %rsi, %fs:SAVED+16(%rcx)
    movq %rdx, %fs:SAVED+24(%rcx)
    movq %r10, %fs:SAVED+32(%rcx)
    movq %r8, %fs:SAVED+40(%rcx)
    movq %r9, %fs:SAVED+48(%rcx)
    movq %r11, %fs:SAVED+56(%rcx)
    movq %rcx, %fs:SAVED+64(%rcx)
    movl $SYS_mmap, %eax
    xorl %edi, %edi
    movl $STACK_BYTES, %esi
    movl $3, %edx      /* PROT_READ | PROT_WRITE */
    movl $0x24022, %r10d /* MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK */
    movq $-1, %r8
    xorl %r9d, %r9d
    syscall
    /* rcx is lost: slots are found again by what is in use, which is this call's until it gives it back */
    movq own_stacks@gottpoff(%rip), %rcx
    addq %fs:(%rcx), %rcx
    cmpq $-4096, %rax
    jae 6f
    addq $STACK_BYTES, %rax
    movq %rax, %fs:TOP(%rcx)
6:  movq %fs:SAVED(%rcx), %rax
    movq %fs:SAVED+8(%rcx), %rdi
    movq %fs:SAVED+16(%rcx), %rsi
    movq %fs:SAVED+24(%rcx), %rdx
    movq %fs:SAVED+32(%rcx), %r10
    movq %fs:SAVED+40(%rcx), %r8
    movq %fs:SAVED+48(%rcx), %r9
    movq %fs:SAVED+56(%rcx), %r11
    cmpq $0, %fs:TOP(%rcx)
    jne 7f
    movq own_stacks@gottpoff(%rip), %rcx
    subq $SLOT, %fs:(%rcx)
    jmp \none
7:  movq %rsp, %fs:RSP(%rcx)
    movq %fs:TOP(%rcx), %rsp
    pushq %r11
    pushq %rcx
    pushq %r9
    pushq %r8
    pushq %r10
    pushq %rdx
    pushq %rsi
    pushq %rdi
.endm

.macro give
    popq %rdi
    popq %rsi
    popq %rdx
    popq %r10
    popq %r8
    popq %r9
    popq %rcx
    popq %r11
    movq %fs:RSP(%rcx), %rsp
    movq own_stacks@gottpoff(%rip), %rcx
    subq $SLOT, %fs:(%rcx)
    pxor %xmm15, %xmm15
    jmp *%r11
.endm

own_call_entry:
    .cfi_startproc
    .cfi_undefined rip
    endbr64
    cmpq $512, %rax
    jae 9f
    leaq own_call_taken(%rip), %rcx
    cmpb $0, (%rcx,%rax)
    je 9f
    take 9f
    movq %rax, %rdi
    movq %rsp, %rsi
    call own_call
    subq %rdx, 56(%rsp) /* where it goes on: the system call is still to be made */
    give
9:  subq $2, %r11 /* the instruction itself, before where it goes on */
    jmp *%r11
    .cfi_endproc
    .size own_call_entry, .-own_call_entry

/* After a clone that own_call() had said to make. */
own_call_cloned:
    .cfi_startproc
    .cfi_undefined rip
    endbr64
    take 8f
    movq %rax, %rdi
    call own_call_cloned_as
    give
8:  jmp *%r11
    .cfi_endproc
    .size own_call_cloned, .-own_call_cloned
    .section .note.GNU-stack,"",@progbits
#endif
