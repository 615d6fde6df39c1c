// Everything of UCX, verbs and rdmacm that Swift cannot import on its own: macros, unions and
// variadics. Each shim is one expression; logic belongs in Transport.
#pragma once
#include <stdbool.h>
#include <ucp/api/ucp.h>

static inline bool fabric_request_is_error(ucs_status_ptr_t request) {
    return UCS_PTR_IS_ERR(request);
}
