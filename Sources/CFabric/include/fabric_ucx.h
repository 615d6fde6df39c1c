// UCX: function-like macros are not imported, and its debug switches have no public header.
#pragma once
#include <stdbool.h>
#include <stdio.h>
#include <ucp/api/ucp.h>

/// `UCS_PTR_IS_ERR` is a macro with a cast.
static inline bool fabric_request_is_error(ucs_status_ptr_t request) {
    return UCS_PTR_IS_ERR(request);
}

/// `UCS_PTR_IS_PTR` is a macro with a cast.
static inline bool fabric_request_is_pending(ucs_status_ptr_t request) {
    return UCS_PTR_IS_PTR(request);
}

/// `UCS_PTR_STATUS` is a macro with a cast.
static inline ucs_status_t fabric_request_status(ucs_status_ptr_t request) {
    return UCS_PTR_STATUS(request);
}

/// Takes UCX's signal handlers out of Swift's traps, and its log off standard output, unless the
/// user's UCX_LOG_LEVEL asks for it. The library read its environment before `main`.
void fabric_ucx_quieten(void);

/// What `ucp_ep_print_info` prints, cut at `capacity`; it wants a FILE.
void fabric_endpoint_info(ucp_ep_h endpoint, char *text, size_t capacity);
