#include <pthread.h>
#include <stdlib.h>

#include "util/util.h"

/* Waits until all are there. */
static void *wait_for_all(void *gate) {
    (void)pthread_mutex_lock(gate);
    (void)pthread_mutex_unlock(gate);
    return NULL;
}

size_t vs_threads_available(size_t wanted) {
    if (wanted < 2) return 1;
    pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    pthread_t *threads = vs_calloc(wanted - 1, sizeof *threads);
    size_t count = 0;
    (void)pthread_mutex_lock(&gate);
    while (threads && count < wanted - 1 && pthread_create(&threads[count], NULL, wait_for_all, &gate) == 0) count++;
    (void)pthread_mutex_unlock(&gate);
    for (size_t i = 0; i < count; i++) (void)pthread_join(threads[i], NULL);
    free(threads);
    (void)pthread_mutex_destroy(&gate);
    return count + 1;
}
