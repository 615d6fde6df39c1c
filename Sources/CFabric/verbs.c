#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>

#include "CFabric.h"

int fabric_post_write(
    struct ibv_qp *queue, uint64_t identifier, uint64_t address, uint32_t length,
    uint32_t local_key, uint64_t remote_address, uint32_t remote_key, int64_t immediate) {
    struct ibv_sge piece = {.addr = address, .length = length, .lkey = local_key};
    struct ibv_send_wr request = {
        .wr_id = identifier,
        .sg_list = &piece,
        .num_sge = 1,
        .opcode = immediate < 0 ? IBV_WR_RDMA_WRITE : IBV_WR_RDMA_WRITE_WITH_IMM,
        .send_flags = IBV_SEND_SIGNALED,
    };
    if (immediate >= 0) request.imm_data = htobe32((uint32_t)immediate);
    request.wr.rdma.remote_addr = remote_address;
    request.wr.rdma.rkey = remote_key;
    struct ibv_send_wr *failed;
    return ibv_post_send(queue, &request, &failed);
}

int fabric_post_read(
    struct ibv_qp *queue, uint64_t identifier, uint64_t address, uint32_t length,
    uint32_t local_key, uint64_t remote_address, uint32_t remote_key) {
    struct ibv_sge piece = {.addr = address, .length = length, .lkey = local_key};
    struct ibv_send_wr request = {
        .wr_id = identifier,
        .sg_list = &piece,
        .num_sge = 1,
        .opcode = IBV_WR_RDMA_READ,
        .send_flags = IBV_SEND_SIGNALED,
    };
    request.wr.rdma.remote_addr = remote_address;
    request.wr.rdma.rkey = remote_key;
    struct ibv_send_wr *failed;
    return ibv_post_send(queue, &request, &failed);
}

int fabric_post_receive(struct ibv_qp *queue, uint64_t identifier) {
    struct ibv_recv_wr request = {.wr_id = identifier};
    struct ibv_recv_wr *failed;
    return ibv_post_recv(queue, &request, &failed);
}

int fabric_poll_completions(struct ibv_cq *queue, fabric_completion *completions, int capacity) {
    struct ibv_wc found[32];
    int count = ibv_poll_cq(queue, capacity < 32 ? capacity : 32, found);
    for (int index = 0; index < count; ++index) {
        completions[index].identifier = found[index].wr_id;
        completions[index].status = (uint32_t)found[index].status;
        completions[index].immediate = be32toh(found[index].imm_data);
        completions[index].is_receive = found[index].status == IBV_WC_SUCCESS &&
                                        (found[index].opcode & IBV_WC_RECV) != 0;
    }
    return count;
}

int fabric_request_event(struct ibv_comp_channel *channel, struct ibv_cq *queue) {
    struct ibv_cq *owner;
    void *context;
    unsigned events = 0;
    while (ibv_get_cq_event(channel, &owner, &context) == 0) ++events;
    if (events > 0) ibv_ack_cq_events(queue, events);
    return ibv_req_notify_cq(queue, 0);
}

const char *fabric_completion_text(uint32_t status) {
    return ibv_wc_status_str((enum ibv_wc_status)status);
}

int fabric_query_port(struct ibv_context *device, uint8_t number, fabric_port *port) {
    struct ibv_port_attr attributes;
    int status = ibv_query_port(device, number, &attributes);
    if (status != 0) return status;
    static const double lanes[] = {[1] = 1, [2] = 4, [4] = 8, [8] = 12, [16] = 2};
    double rate = 0;
    switch (attributes.active_speed) {
        case 1: rate = 2.5; break;
        case 2: rate = 5; break;
        case 4: case 8: rate = 10; break;
        case 16: rate = 14; break;
        case 32: rate = 25; break;
        case 64: rate = 50; break;
        case 128: rate = 100; break;
        default: break;
    }
    double width = attributes.active_width <= 16 ? lanes[attributes.active_width] : 0;
    port->is_active = attributes.state == IBV_PORT_ACTIVE;
    port->is_ethernet = attributes.link_layer == IBV_LINK_LAYER_ETHERNET;
    port->gigabits = rate * width;
    port->mtu = 128u << attributes.active_mtu;
    port->gid_count = attributes.gid_tbl_len;
    return 0;
}

int fabric_query_gid(struct ibv_context *device, uint8_t port, int index, uint8_t gid[16]) {
    union ibv_gid found = {0};
    int status = ibv_query_gid(device, port, index, &found);
    memcpy(gid, found.raw, sizeof(found.raw));
    return status;
}

int fabric_create_queue(
    struct rdma_cm_id *connection, struct ibv_pd *domain, struct ibv_cq *completions,
    uint32_t depth) {
    struct ibv_qp_init_attr attributes = {
        .send_cq = completions,
        .recv_cq = completions,
        .cap = {.max_send_wr = depth, .max_recv_wr = depth, .max_send_sge = 1, .max_recv_sge = 1},
        .qp_type = IBV_QPT_RC,
    };
    return rdma_create_qp(connection, domain, &attributes);
}

static struct rdma_conn_param parameters(const void *data, uint8_t length) {
    // 7 retries of a receiver that is not ready means for ever: heartbeats end it, not a count.
    struct rdma_conn_param value = {
        .private_data = data, .private_data_len = length, .responder_resources = 4,
        .initiator_depth = 4, .retry_count = 7, .rnr_retry_count = 7};
    return value;
}

int fabric_connect(struct rdma_cm_id *connection, const void *data, uint8_t length) {
    struct rdma_conn_param value = parameters(data, length);
    return rdma_connect(connection, &value);
}

int fabric_accept_connection(struct rdma_cm_id *connection, const void *data, uint8_t length) {
    struct rdma_conn_param value = parameters(data, length);
    return rdma_accept(connection, &value);
}

const void *fabric_event_data(const struct rdma_cm_event *event, uint8_t *length) {
    *length = event->param.conn.private_data_len;
    return event->param.conn.private_data;
}

int fabric_event_kind(const struct rdma_cm_event *event) { return (int)event->event; }

int fabric_set_nonblocking(int descriptor) {
    return fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK);
}

struct ibv_mr *fabric_register(struct ibv_pd *domain, void *memory, size_t length, int access) {
    return ibv_reg_mr(domain, memory, length, access);
}

uint64_t fabric_memlock_limit(void) {
    struct rlimit limit = {0};
    (void)getrlimit(RLIMIT_MEMLOCK, &limit);
    return (uint64_t)limit.rlim_cur;
}
