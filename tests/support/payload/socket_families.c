/* Sockets that reach more of the kernel, or of the machine, than the internet protocols do. */
#include "attempts.h"

#include <linux/netlink.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>

#define AF_SMC_NUMBER 43
#define AF_XDP_NUMBER 44
#define PROTOCOL_MPTCP 262

static _Noreturn void one(long family, int type, int protocol)
{
    judge(syscall(SYS_socket, family, type | SOCK_CLOEXEC, protocol));
}

/*
 * A family that is not there yet may come as a module that the kernel loads for who asks, and keeps: whether that may
 * happen to the machine is for who runs this to say (families=all, or names).
 */
static _Noreturn void rare(const char *name, long family, int type, int protocol)
{
    const char *families = needed("families");
    if (strcmp(families, "all") != 0 && strstr(families, name) == NULL) {
        absent("not tried");
    }
    one(family, type, protocol);
}

#define SOCKET(name, family, type, protocol) \
    static void socket_##name(void)          \
    {                                        \
        one(family, type, protocol);         \
    }
#define RARE_SOCKET(name, family, type, protocol) \
    static void socket_##name(void)               \
    {                                             \
        rare(#name, family, type, protocol);      \
    }

SOCKET(packet, AF_PACKET, SOCK_RAW, 0)
SOCKET(packet_old, AF_INET, SOCK_PACKET, 0)
SOCKET(raw, AF_INET, SOCK_RAW, IPPROTO_ICMP)
SOCKET(raw6, AF_INET6, SOCK_RAW, IPPROTO_ICMPV6)
SOCKET(mptcp, AF_INET, SOCK_STREAM, PROTOCOL_MPTCP)
RARE_SOCKET(alg, AF_ALG, SOCK_SEQPACKET, 0)
RARE_SOCKET(vsock, AF_VSOCK, SOCK_STREAM, 0)
RARE_SOCKET(xdp, AF_XDP_NUMBER, SOCK_RAW, 0)
RARE_SOCKET(key, AF_KEY, SOCK_RAW, 2)
RARE_SOCKET(can, AF_CAN, SOCK_RAW, 1)
RARE_SOCKET(bluetooth, AF_BLUETOOTH, SOCK_RAW, 1)
RARE_SOCKET(tipc, AF_TIPC, SOCK_STREAM, 0)
RARE_SOCKET(rds, AF_RDS, SOCK_SEQPACKET, 0)
RARE_SOCKET(smc, AF_SMC_NUMBER, SOCK_STREAM, 0)
RARE_SOCKET(qipcrtr, AF_QIPCRTR, SOCK_DGRAM, 0)
RARE_SOCKET(kcm, AF_KCM, SOCK_DGRAM, 0)
RARE_SOCKET(rxrpc, AF_RXRPC, SOCK_DGRAM, AF_INET)
RARE_SOCKET(pppox, AF_PPPOX, SOCK_STREAM, 0)
RARE_SOCKET(sctp, AF_INET, SOCK_STREAM, IPPROTO_SCTP)
SOCKET(netlink_route, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE)
SOCKET(netlink_diag, AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG)
SOCKET(netlink_generic, AF_NETLINK, SOCK_RAW, NETLINK_GENERIC)
RARE_SOCKET(netlink_netfilter, AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER)
RARE_SOCKET(netlink_xfrm, AF_NETLINK, SOCK_RAW, NETLINK_XFRM)
SOCKET(netlink_audit, AF_NETLINK, SOCK_RAW, NETLINK_AUDIT)
SOCKET(netlink_connector, AF_NETLINK, SOCK_RAW, NETLINK_CONNECTOR)
RARE_SOCKET(netlink_rdma, AF_NETLINK, SOCK_RAW, NETLINK_RDMA)
RARE_SOCKET(netlink_crypto, AF_NETLINK, SOCK_RAW, NETLINK_CRYPTO)

/* Bound, for the first time that makes the kernel send: its news of devices. */
static void socket_netlink_uevent(void)
{
    struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = 1};
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);
    judge(fd < 0 ? fd : bind(fd, (struct sockaddr *)&address, sizeof address));
}

/* The kernel looks at 32 bits of a family, and ignores those above. */
RARE_SOCKET(vsock_high_bits, 0x100000000 | AF_VSOCK, SOCK_STREAM, 0)
RARE_SOCKET(alg_high_bits, 0x100000000 | AF_ALG, SOCK_SEQPACKET, 0)

/* What audit tells to who may control it: asking is enough. */
static void audit_status(void)
{
    struct nlmsghdr question = {.nlmsg_len = sizeof question, .nlmsg_type = 1000 /* AUDIT_GET */, .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK};
    struct {
        struct nlmsghdr head;
        struct nlmsgerr error;
        char rest[512];
    } answer = {0};
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_AUDIT);
    struct timeval patience = {.tv_sec = 10};
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) < 0) {
        judge(-1);
    }
    if (send(fd, &question, sizeof question, 0) < 0 || recv(fd, &answer, sizeof answer, 0) < 0) {
        judge(-1);
    }
    errno = -answer.error.error;
    judge(answer.head.nlmsg_type == NLMSG_ERROR && errno != 0 ? -1 : 0);
}

static void pair_of_netlink(void)
{
    int ends[2];
    judge_by(socketpair(AF_NETLINK, SOCK_RAW, 0, ends), EOPNOTSUPP);
}

const struct attempt socket_families[] = {
    {"socket_packet", socket_packet},
    {"socket_packet_old", socket_packet_old},
    {"socket_raw", socket_raw},
    {"socket_raw6", socket_raw6},
    {"socket_mptcp", socket_mptcp},
    {"socket_alg", socket_alg},
    {"socket_alg_high_bits", socket_alg_high_bits},
    {"socket_vsock", socket_vsock},
    {"socket_vsock_high_bits", socket_vsock_high_bits},
    {"socket_xdp", socket_xdp},
    {"socket_key", socket_key},
    {"socket_can", socket_can},
    {"socket_bluetooth", socket_bluetooth},
    {"socket_tipc", socket_tipc},
    {"socket_rds", socket_rds},
    {"socket_smc", socket_smc},
    {"socket_qipcrtr", socket_qipcrtr},
    {"socket_kcm", socket_kcm},
    {"socket_rxrpc", socket_rxrpc},
    {"socket_pppox", socket_pppox},
    {"socket_sctp", socket_sctp},
    {"netlink_route", socket_netlink_route},
    {"netlink_diag", socket_netlink_diag},
    {"netlink_generic", socket_netlink_generic},
    {"netlink_netfilter", socket_netlink_netfilter},
    {"netlink_xfrm", socket_netlink_xfrm},
    {"netlink_audit", socket_netlink_audit},
    {"audit_status", audit_status},
    {"netlink_connector", socket_netlink_connector},
    {"netlink_rdma", socket_netlink_rdma},
    {"netlink_crypto", socket_netlink_crypto},
    {"netlink_uevent", socket_netlink_uevent},
    {"socketpair_netlink", pair_of_netlink},
    {NULL, NULL},
};
