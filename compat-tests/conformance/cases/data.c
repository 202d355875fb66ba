/* SPDX-License-Identifier: BSD-3-Clause
 * TCP data: vectors, messages, empty reads and writes. */
#include "lib.h"

#include <sys/syscall.h>

static volatile int minus_one = -1; /* the compiler must not warn of what is tested */
static struct iovec many[1025];

static void done(int p[2])
{
    OK(close(p[0]));
    OK(close(p[1]));
}

static void writev_40(void)
{
    int p[2];
    uint8_t out[40][100], in[4000];
    struct iovec iov[40];
    tcp_pair(p);
    for (int i = 0; i < 40; i++) {
        for (int j = 0; j < 100; j++)
            out[i][j] = pattern((uint64_t)i * 100 + j);
        iov[i] = (struct iovec){out[i], 100};
    }
    R(writev(p[0], iov, 40));
    read_exact(p[1], in, sizeof in);
    for (int i = 0; i < 4000; i++)
        CHECK(in[i] == pattern(i));
    R(writev(p[0], iov, 0));
    R(writev(p[0], iov, minus_one));
    R(writev(p[0], many, 1025));
    R(writev(p[0], (struct iovec[]){{out[0], 3}, {NULL, 0}, {out[0], 2}}, 3));
    R(read(p[1], in, sizeof in));
    done(p);
}

static void readv_parts(void)
{
    int p[2];
    char a[4] = "", b[1] = "", c[16] = "";
    struct iovec iov[] = {{a, 4}, {NULL, 0}, {b, 1}, {c, 15}};
    tcp_pair(p);
    send_text(p[0], "abcdefgh");
    settle();
    R(readv(p[1], iov, 4));
    trace("%.4s %.1s %s", a, b, c);
    send_text(p[0], "xyz");
    settle();
    R(readv(p[1], iov, 1));
    trace("%.3s", a);
    R(readv(p[1], iov, 0));
    R(readv(p[1], iov, minus_one));
    R(readv(p[1], many, 1025));
    done(p);
}

static void sendmsg_recvmsg(void)
{
    int p[2];
    char a[3] = "", b[32] = "";
    struct sockaddr_storage from;
    tcp_pair(p);
    struct iovec out[] = {{"one ", 4}, {"two ", 4}, {"three", 5}}, in[] = {{a, 3}, {b, 31}};
    struct msghdr m = {.msg_iov = out, .msg_iovlen = 3};
    R(sendmsg(p[0], &m, 0));
    settle();
    m = (struct msghdr){.msg_iov = in, .msg_iovlen = 2, .msg_name = &from, .msg_namelen = sizeof from,
                        .msg_control = (char[64]){0}, .msg_controllen = 64, .msg_flags = 0x1234};
    R(recvmsg(p[1], &m, 0));
    trace("%.3s|%s namelen %u controllen %zu flags %x", a, b, m.msg_namelen, m.msg_controllen, (unsigned)m.msg_flags);
    m = (struct msghdr){.msg_iov = in, .msg_iovlen = 2};
    R(recvmsg(p[1], &m, MSG_DONTWAIT));
    m.msg_iovlen = 1025;
    R(recvmsg(p[1], &m, MSG_DONTWAIT));
    R(sendmsg(p[0], &m, MSG_DONTWAIT));
    done(p);
}

static void sendmmsg_recvmmsg(void)
{
    int p[2];
    char buf[3][4];
    struct mmsghdr v[3] = {0};
    struct iovec out[3] = {{"abc", 3}, {"defg", 4}, {"hi", 2}}, in[3];
    tcp_pair(p);
    for (int i = 0; i < 3; i++) {
        v[i].msg_hdr = (struct msghdr){.msg_iov = &out[i], .msg_iovlen = 1};
        in[i] = (struct iovec){buf[i], 4};
    }
    R(sendmmsg(p[0], v, 3, 0));
    trace("lengths %u %u %u", v[0].msg_len, v[1].msg_len, v[2].msg_len);
    settle();
    for (int i = 0; i < 3; i++)
        v[i].msg_hdr = (struct msghdr){.msg_iov = &in[i], .msg_iovlen = 1};
    R(recvmmsg(p[1], v, 3, MSG_DONTWAIT, NULL));
    trace("lengths %u %u %u: %.4s %.4s %.1s", v[0].msg_len, v[1].msg_len, v[2].msg_len, buf[0], buf[1], buf[2]);
    R(recvmmsg(p[1], v, 3, MSG_DONTWAIT, NULL));
    send_text(p[0], "12345");
    settle();
    R(recvmmsg(p[1], v, 3, MSG_WAITFORONE, NULL));
    R(sendmmsg(p[0], v, 0, 0));
    done(p);
}

static void recvfrom_name(void)
{
    int p[2];
    char buf[8];
    struct sockaddr_storage ss;
    socklen_t len = sizeof ss;
    tcp_pair(p);
    send_text(p[0], "abcdef");
    settle();
    R(recvfrom(p[1], buf, 3, 0, (struct sockaddr *)&ss, &len));
    trace("address length %u", len);
    R(recvfrom(p[1], buf, 3, 0, NULL, NULL));
    struct addr to;
    loopback(&to, AF_INET, 9);
    R(sendto(p[0], "xy", 2, 0, SA(&to), to.len)); /* the address is ignored */
    read_exact(p[1], buf, 2);
    done(p);
}

static void zero_length(void)
{
    int p[2];
    char buf[8];
    tcp_pair(p);
    R(read(p[1], buf, 0));
    R(recv(p[1], buf, 0, MSG_DONTWAIT)); /* unlike read it looks at the queue */
    R(recvmsg(p[1], &(struct msghdr){0}, MSG_DONTWAIT));
    R(write(p[0], buf, 0));
    R(send(p[0], buf, 0, 0));
    R(recv(p[1], buf, sizeof buf, MSG_DONTWAIT));
    send_text(p[0], "a");
    settle();
    R(read(p[1], buf, 0));
    R(recv(p[1], buf, 0, 0));
    R(read(p[1], buf, 8));
    R(shutdown(p[0], SHUT_WR));
    settle();
    R(read(p[1], buf, 0));
    R(recv(p[1], buf, 0, 0));
    R(read(p[1], buf, 8));
    R(send(p[0], buf, 0, MSG_NOSIGNAL));
    done(p);
}

/* The same calls by their numbers. */
static void by_syscall(void)
{
    int p[2];
    char buf[16] = "";
    tcp_pair(p);
    R(syscall(SYS_write, p[0], "raw", 3));
    settle();
    R(syscall(SYS_recvfrom, p[1], buf, 16, 0, NULL, NULL));
    trace("%s", buf);
    R(syscall(SYS_recvfrom, p[1], buf, 16, MSG_DONTWAIT, NULL, NULL));
    R(syscall(SYS_close, p[0]));
    R(syscall(SYS_read, p[1], buf, 16));
    R(syscall(SYS_close, p[1]));
    R(syscall(SYS_close, p[1]));
}

static void vector_offsets(void)
{
    int p[2];
    char buf[8];
    struct iovec iov = {buf, 4};
    tcp_pair(p);
    R(pwritev2(p[0], &iov, 1, -1, 0));
    settle();
    R(preadv2(p[1], &iov, 1, -1, 0));
    R(preadv2(p[1], &iov, 1, 0, 0));
    R(pwritev2(p[0], &iov, 1, 0, 0));
    R(pread(p[1], buf, 4, 0));
    R(pwrite(p[0], buf, 4, 0));
    R(lseek(p[0], 0, SEEK_CUR));
    done(p);
}

const struct conf_case data_cases[] = {
    {"tcp_writev_40x100", writev_40, TCP, NULL},
    {"tcp_readv", readv_parts, TCP, NULL},
    {"tcp_sendmsg_recvmsg", sendmsg_recvmsg, TCP, NULL},
    {"tcp_sendmmsg_recvmmsg", sendmmsg_recvmmsg, TCP, NULL},
    {"tcp_recvfrom_addrlen", recvfrom_name, TCP, NULL},
    {"tcp_zero_length", zero_length, TCP, NULL},
    {"tcp_by_syscall", by_syscall, TCP, NULL},
    {"tcp_offsets_espipe", vector_offsets, TCP, NULL},
    {0},
};
