/* What the thread sanitizer must report, and what it must not: without libarcher it takes correct OpenMP loops for races, and a
 * suppression of the runtime's name hides real ones. `race`: two threads add to one number; `race none`: the same, each to its
 * own, and their sum after the loop. */
#include <stdio.h>
#include <string.h>

enum { THREADS = 4, ROUNDS = 1000 };

int main(int argc, char **argv) {
    const int alone = argc > 1 && strcmp(argv[1], "none") == 0;
    long numbers[THREADS] = { 0 }, sum = 0;
#pragma omp parallel for num_threads(THREADS) schedule(static, 1)
    for (int i = 0; i < THREADS * ROUNDS; i++) numbers[alone ? i % THREADS : 0] += i;
    for (int i = 0; i < THREADS; i++) sum += numbers[i];
    printf("%ld\n", sum);
    return 0;
}
