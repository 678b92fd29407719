#include "diagnose/half_tasks.h"

#include <stdlib.h>

#include "util/util.h"

vs_status vs_half_tasks(vs_task *tasks, vs_evaluation *maps, const vs_runner *runner, const vs_imageset *set,
                        const vs_half_model *models, size_t count, size_t keep, vs_float_maps *floats, vs_error *err) {
    vs_evaluation own = { 0 }, *out = maps ? maps : &own;
    vs_states states = { .states = vs_calloc(count + 1, sizeof(vs_state)), .state_count = count + 1 };
    if (!states.states) return vs_fail(err, VS_ERR_NOMEM, "no memory for states");
    states.states[0] = (vs_state){ "fp32", VS_STATE_FP32, runner->weights, NULL, NULL };
    for (size_t i = 0; i < count; i++)
        states.states[i + 1] = (vs_state){ models[i].policy->name, VS_STATE_FP16, runner->weights, NULL, &models[i] };
    const vs_status status = vs_evaluate(out, runner, set, &states, keep, floats, err);
    for (size_t i = 0; i < count && status == VS_OK; i++) {
        tasks[i] = out->tasks[i + 1];
        out->tasks[i + 1].iou = NULL; /* the caller's from here on */
    }
    vs_evaluation_release(&own);
    free(states.states);
    return status;
}
