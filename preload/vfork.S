/* SPDX-License-Identifier: BSD-3-Clause
 * vfork: the child runs on its parent's memory and stack until it execs or exits. It marks the thread, so that every
 * intercepted call goes straight to the kernel meanwhile; the parent clears the mark when it goes on. The return address is
 * kept in a register, since the child's return overwrites the stack slot (as in the C library's own). */
#if defined(__x86_64__)
    .text
    .globl zsp_vfork_raw
    .hidden zsp_vfork_raw
    .type zsp_vfork_raw, @function
zsp_vfork_raw:
    .cfi_startproc
    endbr64
    subq $8, %rsp
    .cfi_adjust_cfa_offset 8
    call zs_vfork_prepare
    addq $8, %rsp
    .cfi_adjust_cfa_offset -8
    popq %rdi
    .cfi_adjust_cfa_offset -8
    .cfi_register %rip, %rdi
    movl $58, %eax
    syscall
    pushq %rdi
    .cfi_adjust_cfa_offset 8
    movq zs_vfork_flag@gottpoff(%rip), %rdx
    testq %rax, %rax
    jnz 1f
    movb $1, %fs:(%rdx)
    ret
1:  movb $0, %fs:(%rdx)
    cmpq $-4095, %rax
    jae 2f
    ret
2:  negl %eax
    movl %eax, %edi
    subq $8, %rsp
    .cfi_adjust_cfa_offset 8
    call zs_vfork_errno
    addq $8, %rsp
    .cfi_adjust_cfa_offset -8
    movq $-1, %rax
    ret
    .cfi_endproc
    .size zsp_vfork_raw, .-zsp_vfork_raw
    .globl vfork
    .set vfork, zsp_vfork_raw
    .globl __vfork
    .set __vfork, zsp_vfork_raw
    .section .note.GNU-stack,"",@progbits
#endif
