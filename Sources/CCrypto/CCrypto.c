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

enum { KEY_BYTES = 32, TAG_BYTES = 16, NONCE_BYTES = 12, MOST_BYTES = 1 << 30 };

static EVP_PKEY *secret_key(const uint8_t *secret, ptrdiff_t secretBytes) {
    if (secretBytes != KEY_BYTES) return NULL;
    return EVP_PKEY_new_raw_private_key_ex(NULL, "X25519", NULL, secret, KEY_BYTES);
}

bool crypto_x25519_public(
    const uint8_t *secret, ptrdiff_t secretBytes, uint8_t *published, ptrdiff_t publishedBytes) {
    EVP_PKEY *own = secret_key(secret, secretBytes);
    size_t written = KEY_BYTES;
    bool isMade = own && publishedBytes == KEY_BYTES
        && EVP_PKEY_get_raw_public_key(own, published, &written) == 1 && written == KEY_BYTES;
    EVP_PKEY_free(own);
    return isMade;
}

bool crypto_x25519_shared(
    const uint8_t *secret, ptrdiff_t secretBytes, const uint8_t *published,
    ptrdiff_t publishedBytes, uint8_t *shared, ptrdiff_t sharedBytes) {
    if (publishedBytes != KEY_BYTES || sharedBytes != KEY_BYTES) return false;
    EVP_PKEY *own = secret_key(secret, secretBytes);
    EVP_PKEY *other = EVP_PKEY_new_raw_public_key_ex(NULL, "X25519", NULL, published, KEY_BYTES);
    EVP_PKEY_CTX *context = own ? EVP_PKEY_CTX_new_from_pkey(NULL, own, NULL) : NULL;
    size_t written = KEY_BYTES;
    bool isMade = context && other && EVP_PKEY_derive_init(context) == 1
        && EVP_PKEY_derive_set_peer(context, other) == 1
        && EVP_PKEY_derive(context, shared, &written) == 1 && written == KEY_BYTES;
    EVP_PKEY_CTX_free(context);
    EVP_PKEY_free(other);
    EVP_PKEY_free(own);
    return isMade;
}

/// Four zeros and the number, big-endian, so that the order of frames is part of each.
static void write_nonce(uint64_t number, uint8_t nonce[NONCE_BYTES]) {
    for (int byte = 0; byte < NONCE_BYTES; byte++)
        nonce[byte] = byte < 4 ? 0 : (uint8_t)(number >> (8 * (NONCE_BYTES - 1 - byte)));
}

bool crypto_seal(
    const uint8_t *key, ptrdiff_t keyBytes, uint64_t number, const uint8_t *plain,
    ptrdiff_t plainBytes, uint8_t *sealed, ptrdiff_t sealedBytes) {
    if (keyBytes != KEY_BYTES || plainBytes < 0 || plainBytes > MOST_BYTES
        || sealedBytes != plainBytes + TAG_BYTES)
        return false;
    uint8_t nonce[NONCE_BYTES];
    write_nonce(number, nonce);
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    int written = 0, rest = 0;
    bool isMade = context
        && EVP_EncryptInit_ex2(context, EVP_aes_256_gcm(), key, nonce, NULL) == 1
        && EVP_EncryptUpdate(context, sealed, &written, plain, (int)plainBytes) == 1
        && EVP_EncryptFinal_ex(context, sealed + written, &rest) == 1
        && written + rest == plainBytes
        && EVP_CIPHER_CTX_ctrl(
               context, EVP_CTRL_AEAD_GET_TAG, TAG_BYTES, sealed + plainBytes) == 1;
    EVP_CIPHER_CTX_free(context);
    return isMade;
}

bool crypto_open(
    const uint8_t *key, ptrdiff_t keyBytes, uint64_t number, const uint8_t *sealed,
    ptrdiff_t sealedBytes, uint8_t *plain, ptrdiff_t plainBytes) {
    if (keyBytes != KEY_BYTES || plainBytes < 0 || plainBytes > MOST_BYTES
        || sealedBytes != plainBytes + TAG_BYTES)
        return false;
    uint8_t nonce[NONCE_BYTES], tag[TAG_BYTES];
    write_nonce(number, nonce);
    for (int byte = 0; byte < TAG_BYTES; byte++) tag[byte] = sealed[plainBytes + byte];
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    int written = 0, rest = 0;
    bool isRight = context
        && EVP_DecryptInit_ex2(context, EVP_aes_256_gcm(), key, nonce, NULL) == 1
        && EVP_DecryptUpdate(context, plain, &written, sealed, (int)plainBytes) == 1
        && EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, TAG_BYTES, tag) == 1
        && EVP_DecryptFinal_ex(context, plain + written, &rest) == 1
        && written + rest == plainBytes;
    EVP_CIPHER_CTX_free(context);
    return isRight;
}
