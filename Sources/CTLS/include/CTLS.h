// A server's side of TLS, of Debian's libssl, over bytes in memory. The calls are marked safe: an
// array that is passed with its own count cannot be read or written beyond its end, and contexts
// and sessions are numbers that no caller makes up.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TLS_SAFE __attribute__((swift_attr("@safe")))

/// What became of a step of a session.
enum tls_result {
    tls_done = 1,
    /// More bytes of the client are needed.
    tls_waits = 0,
    /// The client ended its side in order (`close_notify`).
    tls_closed = -1,
    /// The session cannot go on; an alert may wait to be sent.
    tls_failed = -2,
    /// The client speaks HTTP without TLS.
    tls_plain_http = -3,
};

/// Reads a certificate with its chain, and its key, both PEM.
///
/// Returns 0 with the library's reason, which is cut to its place, if a file cannot be read, or if
/// the key is not the certificate's.
TLS_SAFE uintptr_t tls_context_make(
    const char *certificate, const char *key, char *reason, ptrdiff_t reasonBytes);

TLS_SAFE void tls_context_free(uintptr_t context);

/// When the certificate begins or ends to hold, seconds since 1970; 0 if that cannot be read.
TLS_SAFE int64_t tls_context_begins(uintptr_t context);
TLS_SAFE int64_t tls_context_ends(uintptr_t context);

/// One connection; 0 without memory. Keeps the context as long as it needs it.
TLS_SAFE uintptr_t tls_session_make(uintptr_t context);

TLS_SAFE void tls_session_free(uintptr_t session);

/// Takes in bytes that the client sent; false without memory.
TLS_SAFE bool tls_session_feed(uintptr_t session, const uint8_t *bytes, ptrdiff_t count);

/// Goes on with the handshake: a `tls_result`.
TLS_SAFE int tls_session_handshake(uintptr_t session);

/// The library's reason for the failure of the call before, on the same thread, cut to its place.
TLS_SAFE void tls_reason(char *reason, ptrdiff_t reasonBytes);

/// Reads what the client said: the count of bytes, or a `tls_result` that is not above 0.
TLS_SAFE ptrdiff_t tls_session_read(uintptr_t session, uint8_t *bytes, ptrdiff_t count);

/// Seals what is to be said; false if the session cannot.
TLS_SAFE bool tls_session_write(uintptr_t session, const uint8_t *bytes, ptrdiff_t count);

/// Says that no more will be said.
TLS_SAFE void tls_session_close(uintptr_t session);

/// Takes bytes that are to be sent to the client: their count, 0 when there are none.
TLS_SAFE ptrdiff_t tls_session_take(uintptr_t session, uint8_t *bytes, ptrdiff_t count);
