// UCX: function-like macros are not imported.
#pragma once
#include <stdbool.h>
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
