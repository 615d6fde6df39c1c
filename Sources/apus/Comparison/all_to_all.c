// The same bytes between the same ranks, by Open MPI and by raw UCX: no routing, packing or sums.
//
// usage: all_to_all COUNTS ITERATIONS alltoallv|isend|put
//
// COUNTS holds, for dispatch and then for combine, ranks x ranks numbers: bytes that row sends to
// column. Rank 0 prints one line: the method, then for each half the median of the slowest rank's
// microseconds. Times begin after a barrier, as in the benchmark that is compared with.
#include <mpi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucp/api/ucp.h>

static int rank, ranks;

static void fail(const char *what) {
    fprintf(stderr, "all_to_all: rank %d: %s\n", rank, what);
    MPI_Abort(MPI_COMM_WORLD, 1);
    exit(1);
}

static void require(int holds, const char *what) {
    if (!holds) fail(what);
}

// What one half sends and receives on this rank, packed in rank order.
typedef struct {
    int *send_counts, *send_offsets, *receive_counts, *receive_offsets;
    char *send, *receive;
    size_t receive_bytes;
    // Where this rank's bytes begin in each receiver's memory.
    size_t *remote_offsets;
} half;

static half make_half(const long *matrix) {
    half h;
    h.send_counts = calloc(ranks, sizeof(int));
    h.send_offsets = calloc(ranks, sizeof(int));
    h.receive_counts = calloc(ranks, sizeof(int));
    h.receive_offsets = calloc(ranks, sizeof(int));
    h.remote_offsets = calloc(ranks, sizeof(size_t));
    size_t sent = 0, received = 0;
    for (int peer = 0; peer < ranks; peer++) {
        h.send_counts[peer] = (int)matrix[rank * ranks + peer];
        h.send_offsets[peer] = (int)sent;
        sent += h.send_counts[peer];
        h.receive_counts[peer] = (int)matrix[peer * ranks + rank];
        h.receive_offsets[peer] = (int)received;
        received += h.receive_counts[peer];
        for (int before = 0; before < rank; before++)
            h.remote_offsets[peer] += matrix[before * ranks + peer];
    }
    require(sent < INT32_MAX && received < INT32_MAX, "more than 2 GiB for one rank");
    h.receive_bytes = received;
    h.send = malloc(sent + 64);
    h.receive = malloc(received + 64);
    require(h.send && h.receive, "out of memory");
    memset(h.send, rank + 1, sent + 64);
    memset(h.receive, 0, received + 64);
    return h;
}

static void alltoallv(half *h) {
    MPI_Alltoallv(
        h->send, h->send_counts, h->send_offsets, MPI_BYTE, h->receive, h->receive_counts,
        h->receive_offsets, MPI_BYTE, MPI_COMM_WORLD);
}

static void isend(half *h) {
    MPI_Request requests[2 * ranks];
    int count = 0;
    for (int step = 0; step < ranks; step++) {
        int from = (rank + ranks - step) % ranks;
        MPI_Irecv(
            h->receive + h->receive_offsets[from], h->receive_counts[from], MPI_BYTE, from, 0,
            MPI_COMM_WORLD, &requests[count++]);
    }
    for (int step = 0; step < ranks; step++) {
        int to = (rank + step) % ranks;
        MPI_Isend(
            h->send + h->send_offsets[to], h->send_counts[to], MPI_BYTE, to, 0, MPI_COMM_WORLD,
            &requests[count++]);
    }
    MPI_Waitall(count, requests, MPI_STATUSES_IGNORE);
}

// ---- Raw UCX: put into memory that UCX allocated, so that peers can map it ---------------------

static ucp_context_h context;
static ucp_worker_h worker;
static ucp_ep_h *endpoints;
static ucp_rkey_h *keys;
static uint64_t *bases;
static char *window;

static void connect_ucx(size_t bytes) {
    ucp_config_t *config;
    require(ucp_config_read(NULL, NULL, &config) == UCS_OK, "ucp_config_read");
    ucp_params_t params = {
        .field_mask = UCP_PARAM_FIELD_FEATURES, .features = UCP_FEATURE_RMA | UCP_FEATURE_AM};
    require(ucp_init(&params, config, &context) == UCS_OK, "ucp_init");
    ucp_config_release(config);
    ucp_worker_params_t of_worker = {.field_mask = 0};
    require(ucp_worker_create(context, &of_worker, &worker) == UCS_OK, "ucp_worker_create");

    ucp_mem_map_params_t of_memory = {
        .field_mask = UCP_MEM_MAP_PARAM_FIELD_LENGTH | UCP_MEM_MAP_PARAM_FIELD_FLAGS,
        .length = bytes + 64, .flags = UCP_MEM_MAP_ALLOCATE};
    ucp_mem_h memory;
    require(ucp_mem_map(context, &of_memory, &memory) == UCS_OK, "ucp_mem_map");
    ucp_mem_attr_t attributes = {.field_mask = UCP_MEM_ATTR_FIELD_ADDRESS};
    require(ucp_mem_query(memory, &attributes) == UCS_OK, "ucp_mem_query");
    window = attributes.address;
    memset(window, 0, bytes + 64);

    struct { char address[2048], key[2048]; uint64_t base; } mine = {.base = (uint64_t)window};
    ucp_address_t *address;
    void *key;
    size_t length;
    require(ucp_worker_get_address(worker, &address, &length) == UCS_OK, "address");
    require(length <= sizeof mine.address, "a worker address above 2048 bytes");
    memcpy(mine.address, address, length);
    require(ucp_rkey_pack(context, memory, &key, &length) == UCS_OK, "ucp_rkey_pack");
    require(length <= sizeof mine.key, "a key above 2048 bytes");
    memcpy(mine.key, key, length);
    char *all = malloc(sizeof mine * ranks);
    MPI_Allgather(&mine, sizeof mine, MPI_BYTE, all, sizeof mine, MPI_BYTE, MPI_COMM_WORLD);

    endpoints = calloc(ranks, sizeof *endpoints);
    keys = calloc(ranks, sizeof *keys);
    bases = calloc(ranks, sizeof *bases);
    for (int peer = 0; peer < ranks; peer++) {
        char *theirs = all + sizeof mine * peer;
        ucp_ep_params_t of_endpoint = {
            .field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS,
            .address = (const ucp_address_t *)theirs};
        require(
            ucp_ep_create(worker, &of_endpoint, &endpoints[peer]) == UCS_OK, "ucp_ep_create");
        require(
            ucp_ep_rkey_unpack(endpoints[peer], theirs + sizeof mine.address, &keys[peer])
                == UCS_OK,
            "ucp_ep_rkey_unpack");
        memcpy(&bases[peer], theirs + 2 * sizeof mine.address, sizeof bases[peer]);
    }
    free(all);
}

static void finish(ucs_status_ptr_t request) {
    if (request == NULL) return;
    require(!UCS_PTR_IS_ERR(request), "a put failed");
    while (ucp_request_check_status(request) == UCS_INPROGRESS) ucp_worker_progress(worker);
    ucp_request_free(request);
}

static void put(half *h) {
    ucp_request_param_t plain = {.op_attr_mask = 0};
    ucs_status_ptr_t requests[ranks];
    for (int step = 0; step < ranks; step++) {
        int to = (rank + step) % ranks;
        requests[step] = ucp_put_nbx(
            endpoints[to], h->send + h->send_offsets[to], h->send_counts[to],
            bases[to] + h->remote_offsets[to], keys[to], &plain);
    }
    for (int step = 0; step < ranks; step++) finish(requests[step]);
    finish(ucp_worker_flush_nbx(worker, &plain));
    // Everybody's bytes are here when everybody flushed. Progress goes on meanwhile.
    MPI_Request barrier;
    int done = 0;
    MPI_Ibarrier(MPI_COMM_WORLD, &barrier);
    while (!done) {
        ucp_worker_progress(worker);
        MPI_Test(&barrier, &done, MPI_STATUS_IGNORE);
    }
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(void (*method)(half *), half *h, int iterations) {
    double times[iterations];
    for (int i = -3; i < iterations; i++) {
        MPI_Barrier(MPI_COMM_WORLD);
        double start = MPI_Wtime();
        method(h);
        double mine = MPI_Wtime() - start, slowest;
        MPI_Allreduce(&mine, &slowest, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
        if (i >= 0) times[i] = slowest * 1e6;
    }
    qsort(times, iterations, sizeof *times, ascending);
    return times[iterations / 2];
}

int main(int argc, char **argv) {
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    require(argc == 4, "usage: all_to_all COUNTS ITERATIONS alltoallv|isend|put");
    FILE *file = fopen(argv[1], "r");
    require(file != NULL, "no file of counts");
    long matrix[2][ranks * ranks];
    for (int i = 0; i < 2 * ranks * ranks; i++)
        require(fscanf(file, "%ld", &matrix[0][i]) == 1, "too few counts");
    fclose(file);
    int iterations = atoi(argv[2]);
    require(iterations > 0 && iterations <= 100000, "iterations");
    half dispatch = make_half(matrix[0]), combine = make_half(matrix[1]);
    void (*method)(half *) = alltoallv;
    if (strcmp(argv[3], "isend") == 0) method = isend;
    if (strcmp(argv[3], "put") == 0) {
        size_t most = dispatch.receive_bytes;
        if (combine.receive_bytes > most) most = combine.receive_bytes;
        connect_ucx(most);
        method = put;
    }
    double first = median(method, &dispatch, iterations);
    double second = median(method, &combine, iterations);
    if (rank == 0) printf("%s %.1f %.1f\n", argv[3], first, second);
    MPI_Barrier(MPI_COMM_WORLD);
    MPI_Finalize();
    return 0;
}
