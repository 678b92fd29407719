/* A model without a head on the evaluation set: nothing is predicted, so every state is compared with the float model at the
 * model's output, the final-normed tokens. */
#ifndef VS_EVALUATE_OUTPUT_H
#define VS_EVALUATE_OUTPUT_H

#include "run/pool.h"
#include "run/record.h"
#include "run/state.h"

/* out [state_count]; the first state is the float model. */
VS_NODISCARD vs_status vs_evaluate_output(vs_sqnr *out, const vs_runner *runner, const vs_imageset *set, const vs_states *states,
                                          vs_error *err);

#endif
