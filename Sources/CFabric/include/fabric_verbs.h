// Verbs and rdmacm: work requests and completions hold anonymous unions, `ibv_query_port` is a
// macro over a versioned symbol, and event codes are unnamed enums.
#pragma once
#include <infiniband/verbs.h>
#include <rdma/rdma_cma.h>
#include <stdbool.h>
#include <stdint.h>

/// One completion, without the unions.
typedef struct fabric_completion {
    uint64_t identifier;
    uint32_t immediate;
    uint32_t status;
    bool is_receive;
} fabric_completion;

/// State and rate of a port, and how many GIDs it has room for.
typedef struct fabric_port {
    bool is_active;
    bool is_ethernet;
    double gigabits;
    uint32_t mtu;
    int gid_count;
} fabric_port;

/// Posts an RDMA write, signalled; `immediate` < 0 sends none. 0 or errno.
int fabric_post_write(
    struct ibv_qp *queue, uint64_t identifier, uint64_t address, uint32_t length,
    uint32_t local_key, uint64_t remote_address, uint32_t remote_key, int64_t immediate);

/// Posts an RDMA read, signalled. 0 or errno.
int fabric_post_read(
    struct ibv_qp *queue, uint64_t identifier, uint64_t address, uint32_t length,
    uint32_t local_key, uint64_t remote_address, uint32_t remote_key);

/// Posts a receive without memory, for the immediate of a write. 0 or errno.
int fabric_post_receive(struct ibv_qp *queue, uint64_t identifier);

/// Takes up to `capacity` completions; negative on failure.
int fabric_poll_completions(struct ibv_cq *queue, fabric_completion *completions, int capacity);

/// Asks for an event at the next completion, after taking and acknowledging those that came.
int fabric_request_event(struct ibv_comp_channel *channel, struct ibv_cq *queue);

/// What a status means, in the library's words.
const char *fabric_completion_text(uint32_t status);

/// Queries port `number` (from 1). 0 or errno.
int fabric_query_port(struct ibv_context *device, uint8_t number, fabric_port *port);

/// The port's GID `index`; `ibv_query_gid` fills a union. 0 or -1.
int fabric_query_gid(struct ibv_context *device, uint8_t port, int index, uint8_t gid[16]);

/// A reliable connection's queue pair on a connection identifier. 0 or -1 and errno.
int fabric_create_queue(
    struct rdma_cm_id *connection, struct ibv_pd *domain, struct ibv_cq *completions,
    uint32_t depth);

/// Connects or accepts with private data, retrying for ever when the receiver is not ready.
/// 0 or -1.
int fabric_connect(struct rdma_cm_id *connection, const void *data, uint8_t length);
int fabric_accept_connection(struct rdma_cm_id *connection, const void *data, uint8_t length);

/// The private data of a connection event, and its length.
const void *fabric_event_data(const struct rdma_cm_event *event, uint8_t *length);

/// `RDMA_CM_EVENT_...` as an integer.
int fabric_event_kind(const struct rdma_cm_event *event);

/// Lets a descriptor's reads return at once.
int fabric_set_nonblocking(int descriptor);

/// `ibv_reg_mr` is a macro that chooses between two symbols.
struct ibv_mr *fabric_register(struct ibv_pd *domain, void *memory, size_t length, int access);

/// Bytes that this process may lock, the soft limit; `RLIMIT_MEMLOCK` is not imported.
uint64_t fabric_memlock_limit(void);
