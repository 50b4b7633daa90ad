/* Ways to HMAC-SHA256 600 B with one key, by OpenSSL: the best of nine rounds, microseconds.
 * gcc -O2 -Wno-deprecated-declarations bench/experiments/core_hmac.c -lcrypto -o /tmp/hmac && /tmp/hmac
 */
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/params.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define CALLS 50000
#define ROUNDS 9

static unsigned char body[600], head[28], digest[32], inner[64], outer[64], key[64];

static double cpu_s(void) {
    struct timespec at;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &at);
    return at.tv_sec + at.tv_nsec * 1e-9;
}

#define TIMED(name, ...)                                                     \
    {                                                                        \
        double best = 1;                                                     \
        for (int round = 0; round < ROUNDS; round++) {                       \
            double begun = cpu_s();                                          \
            for (int i = 0; i < CALLS; i++) { __VA_ARGS__; }                 \
            double taken = (cpu_s() - begun) / CALLS;                        \
            if (taken < best) best = taken;                                  \
        }                                                                    \
        printf("%-18s %.3f  %02x%02x\n", name, best * 1e6, digest[0], digest[1]); \
    }

int main(void) {
    unsigned int size;
    size_t long_size;
    memset(body, 'x', sizeof body);
    memset(head, '1', sizeof head);
    memset(key, 'k', sizeof key);
    for (int i = 0; i < 64; i++) inner[i] = key[i] ^ 0x36, outer[i] = key[i] ^ 0x5C;

    EVP_MD_CTX *first = EVP_MD_CTX_new(), *second = EVP_MD_CTX_new(), *work = EVP_MD_CTX_new();
    EVP_DigestInit_ex(first, EVP_sha256(), NULL);
    EVP_DigestUpdate(first, inner, 64);
    EVP_DigestInit_ex(second, EVP_sha256(), NULL);
    EVP_DigestUpdate(second, outer, 64);
    TIMED("EVP_MD_CTX copies", EVP_MD_CTX_copy_ex(work, first); EVP_DigestUpdate(work, head, 28);
          EVP_DigestUpdate(work, body, 600); EVP_DigestFinal_ex(work, digest, &size);
          EVP_MD_CTX_copy_ex(work, second); EVP_DigestUpdate(work, digest, 32);
          EVP_DigestFinal_ex(work, digest, &size))

    EVP_MAC_CTX *mac = EVP_MAC_CTX_new(EVP_MAC_fetch(NULL, "HMAC", NULL));
    OSSL_PARAM sha256[] = {OSSL_PARAM_construct_utf8_string("digest", "SHA256", 0),
                           OSSL_PARAM_construct_end()};
    EVP_MAC_init(mac, key, 64, sha256);
    TIMED("EVP_MAC again", EVP_MAC_init(mac, NULL, 0, NULL); EVP_MAC_update(mac, head, 28);
          EVP_MAC_update(mac, body, 600); EVP_MAC_final(mac, digest, &long_size, 32))

    HMAC_CTX *hmac = HMAC_CTX_new();
    HMAC_Init_ex(hmac, key, 64, EVP_sha256(), NULL);
    TIMED("HMAC_* again", HMAC_Init_ex(hmac, NULL, 0, NULL, NULL); HMAC_Update(hmac, head, 28);
          HMAC_Update(hmac, body, 600); HMAC_Final(hmac, digest, &size))

    SHA256_CTX states[2], state;
    SHA256_Init(&states[0]);
    SHA256_Update(&states[0], inner, 64);
    SHA256_Init(&states[1]);
    SHA256_Update(&states[1], outer, 64);
    TIMED("SHA256_* states", state = states[0]; SHA256_Update(&state, head, 28);
          SHA256_Update(&state, body, 600); SHA256_Final(digest, &state); state = states[1];
          SHA256_Update(&state, digest, 32); SHA256_Final(digest, &state))
    return 0;
}
