// Three calls of Debian's libcrypto, under names without macros or engines. They are marked safe:
// an array that is passed with its own count cannot be read or written beyond its end. (Swift could
// check that by passing spans, but Swift 6.3.1 crashes when it optimises such calls.)
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CRYPTO_SAFE __attribute__((swift_attr("@safe")))

/// Writes HMAC-SHA256 of a statement under a key; false if libcrypto could not, or if the place for
/// it is not 32 bytes long.
CRYPTO_SAFE bool crypto_hmac_sha256(
    const uint8_t *key, ptrdiff_t keyBytes, const uint8_t *statement, ptrdiff_t statementBytes,
    uint8_t *code, ptrdiff_t codeBytes);

/// Writes the SHA-256 digest of bytes; false if libcrypto could not, or if the place for it is not
/// 32 bytes long.
CRYPTO_SAFE bool crypto_sha256(
    const uint8_t *bytes, ptrdiff_t byteCount, uint8_t *digest, ptrdiff_t digestBytes);

/// Compares in a time that depends on the counts alone.
CRYPTO_SAFE bool crypto_equal(
    const uint8_t *first, ptrdiff_t firstBytes, const uint8_t *second, ptrdiff_t secondBytes);
