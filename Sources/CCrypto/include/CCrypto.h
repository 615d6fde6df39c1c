// Calls of Debian's libcrypto, under names without macros or engines. They are marked safe:
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

/// Writes the public key of a secret one (X25519, RFC 7748); false if libcrypto could not, or if
/// one of them is not 32 bytes long.
CRYPTO_SAFE bool crypto_x25519_public(
    const uint8_t *secret, ptrdiff_t secretBytes, uint8_t *published, ptrdiff_t publishedBytes);

/// Writes what a secret key and the other end's public key share; false also for a public key that
/// would make the result one of a few known ones.
CRYPTO_SAFE bool crypto_x25519_shared(
    const uint8_t *secret, ptrdiff_t secretBytes, const uint8_t *published,
    ptrdiff_t publishedBytes, uint8_t *shared, ptrdiff_t sharedBytes);

/// Seals bytes with AES-256-GCM (NIST SP 800-38D) under a key of 32 bytes, the nonce made from
/// `number`, which must never be used twice under one key. Writes the sealed bytes and their tag of
/// 16 bytes; false if libcrypto could not, or if counts do not fit.
CRYPTO_SAFE bool crypto_seal(
    const uint8_t *key, ptrdiff_t keyBytes, uint64_t number, const uint8_t *plain,
    ptrdiff_t plainBytes, uint8_t *sealed, ptrdiff_t sealedBytes);

/// Opens what `crypto_seal` made; false, with nothing that may be used, if one bit is another.
CRYPTO_SAFE bool crypto_open(
    const uint8_t *key, ptrdiff_t keyBytes, uint64_t number, const uint8_t *sealed,
    ptrdiff_t sealedBytes, uint8_t *plain, ptrdiff_t plainBytes);
