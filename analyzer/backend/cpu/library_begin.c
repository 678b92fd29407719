/* The library's code, generated while its lack of memory can still be told. oneDNN writes code to where mmap put it without
 * asking whether mmap failed: address 0 then. Only here may that happen, and only here is the fault caught. */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>

#include "backend/cpu/library.h"

/* Handlers have no context: these two are of the one call that pthread_once makes. */
static _Thread_local sigjmp_buf landing;
static _Thread_local volatile sig_atomic_t watching;

static void on_fault(int number) {
    if (watching) siglongjmp(landing, 1);
    (void)signal(number, SIG_DFL); /* another thread's own fault: it comes again and ends the program */
}

/* Its kernels are told apart by the direction of w, by which sides are 1 or few, and by size. That these are all, a test counts
 * (tests/faults). */
static vs_status generate(void) {
    enum { LARGEST = 64 };
    static const size_t sides[] = { 1, 2, 5, 17, LARGEST };
    enum { SIDES = sizeof sides / sizeof *sides };
    float x[LARGEST * LARGEST] = { 0 }, w[LARGEST * LARGEST] = { 0 }, y[LARGEST * LARGEST];
    uint8_t codes[LARGEST * LARGEST] = { 0 };
    int8_t weights[LARGEST * LARGEST] = { 0 };
    int32_t acc[LARGEST * LARGEST];
    vs_status status = VS_OK;
    for (size_t i = 0; i < SIDES * SIDES * SIDES && status == VS_OK; i++) {
        const size_t m = sides[i / (SIDES * SIDES)], n = sides[i / SIDES % SIDES], k = sides[i % SIDES];
        status = vs_library_product_i8(codes, weights, m, n, k, acc);
        for (int turned = 0; turned < 2 && status == VS_OK; turned++)
            status = vs_library_product(vs_mat_of(x, m, k), turned ? vs_mat_of(w, k, n) : vs_mat_of(w, n, k), turned,
                                        vs_mat_of(y, m, n));
    }
    return status;
}

/* After a fault the library must not be called again: it believes that it is still generating. */
static vs_status generate_guarded(void) {
    struct sigaction mine, before;
    memset(&mine, 0, sizeof mine);
    mine.sa_handler = on_fault;
    (void)sigemptyset(&mine.sa_mask);
    if (sigaction(SIGSEGV, &mine, &before) != 0) return VS_ERR_INTERNAL;
    vs_status status = VS_ERR_NOMEM;
    if (sigsetjmp(landing, 1) == 0) {
        watching = 1;
        status = generate();
    }
    watching = 0;
    (void)sigaction(SIGSEGV, &before, NULL);
    return status;
}

static vs_status outcome; /* the library's state is the process's, and so is this */
static void begin(void) { outcome = generate_guarded(); }

vs_status vs_library_begin(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    return pthread_once(&once, begin) == 0 ? outcome : VS_ERR_INTERNAL;
}
