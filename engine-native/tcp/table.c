/* SPDX-License-Identifier: BSD-3-Clause
 * The decision table: what happens to a segment, by state and flags. Everything not named is a counted drop. */
#include "tcp_conn.h"

/* Column of the table: FIN 1, SYN 2, RST 4, ACK 8. */
#define COLUMN(flags) (((flags) & 7u) | ((flags) & RTE_TCP_ACK_FLAG) >> 1)
enum { NONE = 0, FIN = 1, SYN = 2, RST = 4, ACK = 8, COLUMNS = 16 };
_Static_assert(RTE_TCP_FIN_FLAG == FIN && RTE_TCP_SYN_FLAG == SYN && RTE_TCP_RST_FLAG == RST && RTE_TCP_ACK_FLAG == ACK << 1,
               "columns follow the header");

#define GO(act) {.action = TCP_##act}
#define DROP(counter) {.action = TCP_DROP, .why = NET_##counter}

/* SYN with FIN or RST asks for two things that exclude each other: no sane sender does (the default, TCP_BAD_FLAGS). */
#define SYNCHRONIZED_ROW(act)                                                     \
    {                                                                             \
        [NONE] = DROP(TCP_NO_ACK), [FIN] = DROP(TCP_NO_ACK),                      \
        [SYN] = GO(act), [SYN | ACK] = GO(act), /* challenged, RFC 5961 4 */      \
        [RST] = GO(act), [RST | ACK] = GO(act), [RST | FIN | ACK] = GO(act),      \
        [ACK] = GO(act), [FIN | ACK] = GO(act),                                   \
    }

static const struct tcp_decision table[TCP_STATE_N][COLUMNS] = {
    /* RFC 9293 3.10.7.1 */
    [TCP_CLOSED] = {
        [NONE] = GO(ANSWER_RST), [FIN] = GO(ANSWER_RST), [SYN] = GO(ANSWER_RST), [ACK] = GO(ANSWER_RST),
        [SYN | ACK] = GO(ANSWER_RST), [FIN | ACK] = GO(ANSWER_RST),
        [RST] = DROP(TCP_RST_IGNORED), [RST | ACK] = DROP(TCP_RST_IGNORED), [RST | FIN | ACK] = DROP(TCP_RST_IGNORED),
    },
    /* 3.10.7.2 */
    [TCP_LISTEN] = {
        [NONE] = DROP(TCP_NO_ACK), [FIN] = DROP(TCP_NO_ACK), [SYN] = GO(PASSIVE_OPEN), [ACK] = GO(COOKIE_ACK),
        [SYN | ACK] = GO(ANSWER_RST), [FIN | ACK] = GO(COOKIE_ACK),
        [RST] = DROP(TCP_RST_IGNORED), [RST | ACK] = DROP(TCP_RST_IGNORED), [RST | FIN | ACK] = DROP(TCP_RST_IGNORED),
    },
    /* 3.10.7.3 */
    [TCP_SYN_SENT] = {
        [NONE] = DROP(TCP_NO_ACK), [FIN] = DROP(TCP_NO_ACK), [SYN] = GO(SYN_SENT_INPUT), [SYN | ACK] = GO(SYN_SENT_INPUT),
        [ACK] = GO(SYN_SENT_INPUT), [FIN | ACK] = GO(SYN_SENT_INPUT),
        [RST] = DROP(TCP_RST_IGNORED), [RST | ACK] = GO(SYN_SENT_INPUT), [RST | FIN | ACK] = GO(SYN_SENT_INPUT),
    },
    /* 3.10.7.4 */
    [TCP_SYN_RECEIVED] = SYNCHRONIZED_ROW(SEGMENT),
    [TCP_ESTABLISHED] = SYNCHRONIZED_ROW(SEGMENT),
    [TCP_FIN_WAIT_1] = SYNCHRONIZED_ROW(SEGMENT),
    [TCP_FIN_WAIT_2] = SYNCHRONIZED_ROW(SEGMENT),
    [TCP_CLOSE_WAIT] = SYNCHRONIZED_ROW(SEGMENT),
    [TCP_CLOSING] = SYNCHRONIZED_ROW(SEGMENT),
    [TCP_LAST_ACK] = SYNCHRONIZED_ROW(SEGMENT),
    [TCP_TIME_WAIT] = SYNCHRONIZED_ROW(TIME_WAIT_INPUT),
};

struct tcp_decision tcp_decide(enum tcp_state state, uint8_t flags)
{
    struct tcp_decision d = table[state][COLUMN(flags)];
    if (d.action == TCP_DROP && d.why == 0)
        d.why = NET_TCP_BAD_FLAGS;
    return d;
}
