/* Task metrics of models in half precision. */
#ifndef VS_HALF_TASKS_H
#define VS_HALF_TASKS_H

#include "task/evaluate.h"

/* tasks [count] of `models` on the set, the float model beside them (its maps in `floats`, as for vs_evaluate); the caller owns
 * what they hold. maps: gets the captures of the first `keep` images under fp32 and then each model, for the caller to release;
 * NULL: not kept. */
VS_NODISCARD vs_status vs_half_tasks(vs_task *tasks, vs_evaluation *maps, const vs_runner *runner, const vs_imageset *set,
                                     const vs_half_model *models, size_t count, size_t keep, vs_float_maps *floats,
                                     vs_error *err);

#endif
