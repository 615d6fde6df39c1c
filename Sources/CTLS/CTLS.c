#define _GNU_SOURCE
#include "CTLS.h"

#include <limits.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>
#include <time.h>

// Both orders of preference are the server's; each suite has forward secrecy and authenticates what
// it seals.
static const char suites[] = "ECDHE+AESGCM:ECDHE+CHACHA20";
static const unsigned char protocol[] = "\x08http/1.1";

static SSL_CTX *context_of(uintptr_t context) { return (SSL_CTX *)context; }
static SSL *session_of(uintptr_t session) { return (SSL *)session; }

// One record at most is written or read at a time, so an int holds every count.
static int bounded(ptrdiff_t count) { return count > INT_MAX ? INT_MAX : (int)count; }

// A key with a passphrase is refused: a server that starts by itself has nobody to ask.
static int no_passphrase(char *place, int size, int writes, void *data) {
    (void)place, (void)size, (void)writes, (void)data;
    return -1;
}

// A client that names protocols must name ours (RFC 7301).
static int choose_protocol(
    SSL *session, const unsigned char **chosen, unsigned char *chosenBytes,
    const unsigned char *offered, unsigned offeredBytes, void *data) {
    (void)session, (void)data;
    unsigned char *found = NULL;
    int result = SSL_select_next_proto(
        &found, chosenBytes, protocol, sizeof protocol - 1, offered, offeredBytes);
    *chosen = found;
    return result == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

static void say(char *reason, ptrdiff_t reasonBytes) {
    unsigned long error = ERR_peek_error();
    const char *words = ERR_reason_error_string(error);
    if (reasonBytes <= 0) return;
    strncpy(reason, words ? words : "no reason is known", (size_t)reasonBytes - 1);
    reason[reasonBytes - 1] = 0;
}

uintptr_t tls_context_make(
    const char *certificate, const char *key, char *reason, ptrdiff_t reasonBytes) {
    ERR_clear_error();
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (!context) {
        say(reason, reasonBytes);
        return 0;
    }
    SSL_CTX_set_default_passwd_cb(context, no_passphrase);
    SSL_CTX_set_options(
        context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET
            | SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_alpn_select_cb(context, choose_protocol, NULL);
    bool isReady = SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION)
        && SSL_CTX_set_num_tickets(context, 0) && SSL_CTX_set_cipher_list(context, suites)
        && SSL_CTX_use_certificate_chain_file(context, certificate) == 1
        && SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) == 1
        && SSL_CTX_check_private_key(context) == 1;
    if (!isReady) {
        say(reason, reasonBytes);
        SSL_CTX_free(context);
        context = NULL;
    }
    ERR_clear_error();
    return (uintptr_t)context;
}

void tls_context_free(uintptr_t context) { SSL_CTX_free(context_of(context)); }

static int64_t seconds(const ASN1_TIME *time) {
    struct tm parts;
    return time && ASN1_TIME_to_tm(time, &parts) == 1 ? (int64_t)timegm(&parts) : 0;
}

int64_t tls_context_begins(uintptr_t context) {
    return seconds(X509_get0_notBefore(SSL_CTX_get0_certificate(context_of(context))));
}

int64_t tls_context_ends(uintptr_t context) {
    return seconds(X509_get0_notAfter(SSL_CTX_get0_certificate(context_of(context))));
}

uintptr_t tls_session_make(uintptr_t context) {
    SSL *session = SSL_new(context_of(context));
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    if (!session || !in || !out) {
        SSL_free(session);
        BIO_free(in);
        BIO_free(out);
        return 0;
    }
    // An empty place means that more will come, and not the end.
    BIO_set_mem_eof_return(in, -1);
    BIO_set_mem_eof_return(out, -1);
    SSL_set_bio(session, in, out);
    SSL_set_accept_state(session);
    return (uintptr_t)session;
}

void tls_session_free(uintptr_t session) { SSL_free(session_of(session)); }

bool tls_session_feed(uintptr_t session, const uint8_t *bytes, ptrdiff_t count) {
    BIO *in = SSL_get_rbio(session_of(session));
    return count == 0 || BIO_write(in, bytes, bounded(count)) == count;
}

static int result_of(SSL *session, int returned) {
    switch (SSL_get_error(session, returned)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE: return tls_waits;
    case SSL_ERROR_ZERO_RETURN: return tls_closed;
    default: break;
    }
    unsigned long error = ERR_peek_error();
    bool isPlain = ERR_GET_LIB(error) == ERR_LIB_SSL
        && (ERR_GET_REASON(error) == SSL_R_HTTP_REQUEST
            || ERR_GET_REASON(error) == SSL_R_HTTPS_PROXY_REQUEST);
    return isPlain ? tls_plain_http : tls_failed;
}

int tls_session_handshake(uintptr_t session) {
    ERR_clear_error();
    int returned = SSL_do_handshake(session_of(session));
    return returned == 1 ? tls_done : result_of(session_of(session), returned);
}

void tls_reason(char *reason, ptrdiff_t reasonBytes) { say(reason, reasonBytes); }

ptrdiff_t tls_session_read(uintptr_t session, uint8_t *bytes, ptrdiff_t count) {
    ERR_clear_error();
    int returned = SSL_read(session_of(session), bytes, bounded(count));
    return returned > 0 ? returned : result_of(session_of(session), returned);
}

bool tls_session_write(uintptr_t session, const uint8_t *bytes, ptrdiff_t count) {
    while (count > 0) {
        ERR_clear_error();
        int returned = SSL_write(session_of(session), bytes, bounded(count));
        if (returned <= 0) return false;
        bytes += returned;
        count -= returned;
    }
    return true;
}

void tls_session_close(uintptr_t session) {
    ERR_clear_error();
    SSL_shutdown(session_of(session));
    ERR_clear_error();
}

ptrdiff_t tls_session_take(uintptr_t session, uint8_t *bytes, ptrdiff_t count) {
    BIO *out = SSL_get_wbio(session_of(session));
    int returned = BIO_read(out, bytes, bounded(count));
    return returned > 0 ? returned : 0;
}
