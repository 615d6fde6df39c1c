#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <ucs/config/global_opts.h>

#include "CFabric.h"

// Exported by libucs; its header is not installed with every package.
void ucs_debug_disable_signals(void);

void fabric_ucx_quieten(void) {
    ucs_debug_disable_signals();
    if (getenv("UCX_LOG_LEVEL") == NULL) ucs_global_opts_set_value("LOG_LEVEL", "fatal");
}

void fabric_endpoint_info(ucp_ep_h endpoint, char *text, size_t capacity) {
    memset(text, 0, capacity);
    FILE *stream = fmemopen(text, capacity - 1, "w");
    if (stream == NULL) return;
    ucp_ep_print_info(endpoint, stream);
    fclose(stream);
}
