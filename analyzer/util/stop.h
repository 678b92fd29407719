/* The wish to stop: set by one thread, read by the workers between two pieces of work. */
#ifndef VS_STOP_H
#define VS_STOP_H

#include <stdatomic.h>
#include <stdbool.h>

typedef atomic_bool vs_stop;

/* Nothing else is handed over with it, so no order is asked for. NULL: nobody can stop this. */
static inline bool vs_stopped(const vs_stop *stop) { return stop && atomic_load_explicit(stop, memory_order_relaxed); }

#endif
