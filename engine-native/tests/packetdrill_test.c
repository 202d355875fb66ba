/* SPDX-License-Identifier: BSD-3-Clause
 * The native stack through packetdrill's interface, called as packetdrill calls it: packets in and out, socket calls, the clock. Scripts
 * in packetdrill's own notation, with packetdrill where it is installed: packetdrill/scripts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <rte_byteorder.h>
#include <rte_ip.h>
#include <rte_tcp.h>
#include <stdlib.h>
#include <string.h>

#include "packetdrill/interface.h"

#define LOCAL RTE_BE32(0xc0a80002)
#define REMOTE RTE_BE32(0xc0000201)
#define PORT RTE_BE16(8080)
#define PEER_PORT RTE_BE16(40000)

struct packet {
    struct rte_ipv4_hdr ip;
    struct rte_tcp_hdr tcp;
    uint8_t data[1500];
} __attribute__((packed, aligned(2)));

static struct packetdrill_interface *table(void **state)
{
    return *state;
}

static long long now_us(struct packetdrill_interface *t)
{
    struct timeval tv;
    assert_int_equal(t->gettimeofday(t->userdata, &tv, NULL), 0);
    return tv.tv_sec * 1000000LL + tv.tv_usec;
}

/* A SYN to the listener with options, a multiple of 4 bytes, and data. */
static void syn_in(struct packetdrill_interface *t, rte_be16_t from, const void *options, uint8_t olen, const void *data, uint16_t len)
{
    uint16_t all = (uint16_t)(40 + olen + len);
    struct packet p = {.ip = {.version_ihl = RTE_IPV4_VHL_DEF, .total_length = rte_cpu_to_be_16(all), .time_to_live = 64,
                              .next_proto_id = IPPROTO_TCP, .src_addr = REMOTE, .dst_addr = LOCAL},
                       .tcp = {.src_port = from, .dst_port = PORT, .data_off = (uint8_t)((20 + olen) / 4 << 4), .tcp_flags = RTE_TCP_SYN_FLAG,
                               .rx_win = RTE_BE16(65535)}};
    memcpy(p.data, options, olen);
    memcpy(p.data + olen, data, len);
    p.ip.hdr_checksum = rte_ipv4_cksum(&p.ip);
    p.tcp.cksum = rte_ipv4_udptcp_cksum(&p.ip, &p.tcp);
    assert_int_equal(t->netdev_send(t->userdata, &p, all), 0);
}

static void in(struct packetdrill_interface *t, rte_be16_t to, uint8_t flags, uint32_t seq, uint32_t ack, const void *data, uint16_t len)
{
    struct packet p = {.ip = {.version_ihl = RTE_IPV4_VHL_DEF, .total_length = rte_cpu_to_be_16((uint16_t)(40 + len)), .time_to_live = 64,
                              .next_proto_id = IPPROTO_TCP, .src_addr = REMOTE, .dst_addr = LOCAL},
                       .tcp = {.src_port = to == PORT ? PEER_PORT : PORT, .dst_port = to, .sent_seq = rte_cpu_to_be_32(seq),
                               .recv_ack = rte_cpu_to_be_32(ack), .data_off = 5 << 4, .tcp_flags = flags, .rx_win = RTE_BE16(65535)}};
    memcpy(p.data, data, len);
    p.ip.hdr_checksum = rte_ipv4_cksum(&p.ip);
    p.tcp.cksum = rte_ipv4_udptcp_cksum(&p.ip, &p.tcp);
    assert_int_equal(t->netdev_send(t->userdata, &p, 40u + len), 0);
}

/* The next packet; fails when it is not of these flags and this length. */
static struct packet out(struct packetdrill_interface *t, uint8_t flags, size_t len, long long *us)
{
    struct packet p;
    size_t n = sizeof p;
    assert_int_equal(t->netdev_receive(t->userdata, &p, &n, us), 0);
    assert_true(n >= 40);
    size_t headers = 20 + (p.tcp.data_off >> 4) * 4u;
    assert_int_equal(p.tcp.tcp_flags, flags);
    assert_int_equal(n - headers, len);
    assert_int_equal(rte_ipv4_udptcp_cksum(&p.ip, &p.tcp), 0);
    memmove(p.data, (uint8_t *)&p + headers, len);
    return p;
}

static struct sockaddr_in address(rte_be32_t ip, rte_be16_t port)
{
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = port, .sin_addr.s_addr = ip};
}

static int listening(struct packetdrill_interface *t)
{
    struct sockaddr_in a = address(LOCAL, PORT);
    int fd = t->socket(t->userdata, AF_INET, SOCK_STREAM, IPPROTO_TCP);
    assert_true(fd >= 0);
    assert_int_equal(t->bind(t->userdata, fd, (void *)&a, sizeof a), 0);
    assert_int_equal(t->listen(t->userdata, fd, 1), 0);
    return fd;
}

static void test_passive_open_data_and_close(void **state)
{
    struct packetdrill_interface *t = table(state);
    struct sockaddr_in from;
    socklen_t len = sizeof from;
    char buf[64];
    long long us;
    int l = listening(t);
    in(t, PORT, RTE_TCP_SYN_FLAG, 100, 0, NULL, 0);
    uint32_t iss = rte_be_to_cpu_32(out(t, RTE_TCP_SYN_FLAG | RTE_TCP_ACK_FLAG, 0, &us).tcp.sent_seq);
    in(t, PORT, RTE_TCP_ACK_FLAG, 101, iss + 1, NULL, 0);
    int fd = t->accept(t->userdata, l, (void *)&from, &len);
    assert_true(fd >= 0);
    assert_int_equal(from.sin_addr.s_addr, REMOTE);
    assert_int_equal(from.sin_port, PEER_PORT);

    assert_int_equal(t->fcntl(t->userdata, fd, F_SETFL, (long)O_NONBLOCK), 0);
    assert_int_equal(t->read(t->userdata, fd, buf, sizeof buf), -1);
    assert_int_equal(errno, EAGAIN);
    in(t, PORT, RTE_TCP_ACK_FLAG | RTE_TCP_PSH_FLAG, 101, iss + 1, "question", 8);
    struct pollfd poll = {.fd = fd, .events = POLLIN | POLLOUT};
    assert_int_equal(t->poll(t->userdata, &poll, 1, 0), 1);
    assert_int_equal(poll.revents, POLLIN | POLLOUT);
    assert_int_equal(t->read(t->userdata, fd, buf, sizeof buf), 8);
    assert_memory_equal(buf, "question", 8);
    assert_int_equal(t->write(t->userdata, fd, "answer", 6), 6);
    struct packet p = out(t, RTE_TCP_ACK_FLAG | RTE_TCP_PSH_FLAG, 6, &us);
    assert_memory_equal(p.data, "answer", 6);
    assert_int_equal(rte_be_to_cpu_32(p.tcp.recv_ack), 109);
    in(t, PORT, RTE_TCP_ACK_FLAG | RTE_TCP_FIN_FLAG, 109, iss + 7, NULL, 0);
    out(t, RTE_TCP_ACK_FLAG, 0, &us);
    assert_int_equal(t->read(t->userdata, fd, buf, sizeof buf), 0);
    assert_int_equal(t->close(t->userdata, fd), 0);
    out(t, RTE_TCP_ACK_FLAG | RTE_TCP_FIN_FLAG, 0, &us);
    in(t, PORT, RTE_TCP_ACK_FLAG, 110, iss + 8, NULL, 0);
    assert_int_equal(t->close(t->userdata, l), 0);
    assert_int_equal(t->close(t->userdata, l), -1);
    assert_int_equal(errno, EBADF);
}

/* RFC 6298: a second, then twice as long; the clock is the script's. */
static void test_time_is_virtual(void **state)
{
    struct packetdrill_interface *t = table(state);
    struct sockaddr_in a = address(REMOTE, PORT);
    long long first, second, third;
    int err;
    socklen_t len = sizeof err;
    int fd = t->socket(t->userdata, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, IPPROTO_TCP);
    assert_int_equal(t->connect(t->userdata, fd, (void *)&a, sizeof a), -1);
    assert_int_equal(errno, EINPROGRESS);
    rte_be16_t port = out(t, RTE_TCP_SYN_FLAG, 0, &first).tcp.src_port;
    out(t, RTE_TCP_SYN_FLAG, 0, &second);
    out(t, RTE_TCP_SYN_FLAG, 0, &third);
    assert_in_range(second - first, 1000000, 1000000 + 10000); /* the timing wheel's tick */
    assert_in_range(third - second, 2000000, 2000000 + 10000);
    long long before = now_us(t);
    assert_int_equal(t->usleep(t->userdata, 500000), 0);
    assert_in_range(now_us(t) - before, 500000, 500010);
    in(t, port, RTE_TCP_RST_FLAG | RTE_TCP_ACK_FLAG, 0, 1, NULL, 0); /* of no sequence number that was sent */
    struct pollfd poll = {.fd = fd, .events = POLLOUT};
    assert_int_equal(t->poll(t->userdata, &poll, 1, 0), 0);
    size_t n = 0;
    long long us;
    assert_int_equal(t->poll(t->userdata, &poll, 1, 600000), 1); /* until it is given up */
    assert_int_equal(t->getsockopt(t->userdata, fd, SOL_SOCKET, SO_ERROR, &err, &len), 0);
    assert_int_equal(err, ETIMEDOUT);
    assert_int_equal(t->close(t->userdata, fd), 0);
    uint8_t rest[2048];
    for (n = sizeof rest; t->netdev_receive(t->userdata, rest, &n, &us) == 0 && n != 0; n = sizeof rest)
        ; /* the other SYNs; then nothing more comes */
}

/* The SYN,ACK: what it acknowledges, and the cookie that it brings; false: none. */
static bool answer(struct packetdrill_interface *t, uint32_t *ack, uint8_t cookie[8])
{
    struct packet p;
    size_t n = sizeof p;
    long long us;
    assert_int_equal(t->netdev_receive(t->userdata, &p, &n, &us), 0);
    assert_int_equal(p.tcp.tcp_flags, RTE_TCP_SYN_FLAG | RTE_TCP_ACK_FLAG);
    *ack = rte_be_to_cpu_32(p.tcp.recv_ack);
    const uint8_t *o = p.data, *end = o + (p.tcp.data_off >> 4) * 4u - 20;
    for (; o + 1 < end && o[0] != 0; o += o[0] == 1 ? 1 : o[1])
        if (o[0] == 34 && o[1] == 10) {
            memcpy(cookie, o + 2, 8);
            return true;
        }
    return false;
}

/* TCP_FASTOPEN_KEY: what one key made is good for as long as it is the backup. */
static void test_fastopen_key(void **state)
{
    enum { FASTOPEN = 23, FASTOPEN_KEY = 33 };
    struct packetdrill_interface *t = table(state);
    uint8_t keys[32] = "first key, 16 b.second key, 16 b", swapped[32], back[32], option[12] = {34, 2, 1, 1}, first[8], cookie[8];
    socklen_t len = sizeof back;
    uint32_t ack;
    int pending = 5, l = listening(t);
    memcpy(swapped, keys + 16, 16);
    memcpy(swapped + 16, keys, 16);
    assert_int_equal(t->setsockopt(t->userdata, l, IPPROTO_TCP, FASTOPEN, &pending, sizeof pending), 0);
    assert_int_equal(t->setsockopt(t->userdata, l, IPPROTO_TCP, FASTOPEN_KEY, keys, 17), -1);
    assert_int_equal(errno, EINVAL);
    assert_int_equal(t->setsockopt(t->userdata, l, IPPROTO_TCP, FASTOPEN_KEY, keys, 16), 0);
    syn_in(t, RTE_BE16(40001), option, 4, "", 0);
    assert_true(answer(t, &ack, first));
    assert_int_equal(t->setsockopt(t->userdata, l, IPPROTO_TCP, FASTOPEN_KEY, swapped, 32), 0);
    assert_int_equal(t->getsockopt(t->userdata, l, IPPROTO_TCP, FASTOPEN_KEY, back, &len), 0);
    assert_int_equal(len, 32);
    assert_memory_equal(back, swapped, 32);
    option[1] = 10;
    memcpy(option + 2, first, 8);
    option[10] = option[11] = 1;
    syn_in(t, RTE_BE16(40002), option, 12, "early", 5);
    assert_true(answer(t, &ack, cookie));
    assert_int_equal(ack, 6); /* with the data */
    assert_memory_not_equal(cookie, first, 8);
    assert_int_equal(t->setsockopt(t->userdata, l, IPPROTO_TCP, FASTOPEN_KEY, swapped, 16), 0);
    syn_in(t, RTE_BE16(40003), option, 12, "early", 5);
    assert_true(answer(t, &ack, cookie));
    assert_int_equal(ack, 1); /* the first key is gone */
    assert_int_equal(t->close(t->userdata, l), 0);
}

static void test_what_is_not_there_says_so(void **state)
{
    struct packetdrill_interface *t = table(state);
    int fds[2];
    assert_int_equal(t->pipe(t->userdata, fds), -1);
    assert_int_equal(errno, ENOSYS);
    assert_int_equal(t->epoll_create(t->userdata, 1), -1);
    assert_int_equal(errno, ENOSYS);
    assert_int_equal(t->socket(t->userdata, AF_UNIX, SOCK_STREAM, 0), -1);
    assert_int_equal(errno, EAFNOSUPPORT);
    assert_int_equal(t->netdev_send(t->userdata, fds, 0), -1);
}

static int open_module(void **state)
{
    static struct packetdrill_interface t;
    void (*init)(const char *, struct packetdrill_interface *) = NULL;
    void *module = dlopen(PACKETDRILL_MODULE, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE | RTLD_DEEPBIND); /* as packetdrill does */
    if (module != NULL)
        *(void **)&init = dlsym(module, "packetdrill_interface_init");
    if (init == NULL) {
        print_error("%s\n", dlerror());
        return -1;
    }
    init("", &t);
    *state = &t;
    return 0;
}

static int close_module(void **state)
{
    struct packetdrill_interface *t = *state;
    t->free(t->userdata);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_passive_open_data_and_close),
        cmocka_unit_test(test_time_is_virtual),
        cmocka_unit_test(test_fastopen_key),
        cmocka_unit_test(test_what_is_not_there_says_so),
    };
    return cmocka_run_group_tests(tests, open_module, close_module);
}
