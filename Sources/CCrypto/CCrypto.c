#include "CCrypto.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/sha.h>

bool crypto_hmac_sha256(
    const uint8_t *key, ptrdiff_t keyBytes, const uint8_t *statement, ptrdiff_t statementBytes,
    uint8_t *code, ptrdiff_t codeBytes) {
    size_t written = 0;
    return codeBytes == SHA256_DIGEST_LENGTH
        && EVP_Q_mac(
               NULL, "HMAC", NULL, "SHA256", NULL, key, (size_t)keyBytes, statement,
               (size_t)statementBytes, code, (size_t)codeBytes, &written)
        && written == SHA256_DIGEST_LENGTH;
}

bool crypto_sha256(
    const uint8_t *bytes, ptrdiff_t byteCount, uint8_t *digest, ptrdiff_t digestBytes) {
    size_t written = 0;
    return digestBytes == SHA256_DIGEST_LENGTH
        && EVP_Q_digest(NULL, "SHA256", NULL, bytes, (size_t)byteCount, digest, &written)
        && written == SHA256_DIGEST_LENGTH;
}

bool crypto_equal(
    const uint8_t *first, ptrdiff_t firstBytes, const uint8_t *second, ptrdiff_t secondBytes) {
    return firstBytes == secondBytes && CRYPTO_memcmp(first, second, (size_t)firstBytes) == 0;
}
