/* What a study's numbers say about where the loss is: the decision, apart from the words that print it. It is made for the
 * first plain recipe (else the first smoothed one), from the best that was measured:
 *   output  each layer quantized alone, seen at the model's output. Noise adds up, so a layer's share is 10^(-dB/10) over the
 *           sum of all layers'; few layers may have most of it, or it is spread;
 *   spared  each layer alone left in float, at the model's output: dB gained, beside chance;
 *   local   each layer quantized alone, at its own output, where the output was not measured. It says where precision is
 *           lost, not whether that matters; signals differ, so there are no shares. */
#ifndef VS_ANSWER_H
#define VS_ANSWER_H

#include "results/results.h"

typedef enum vs_answer_place { VS_ANSWER_OUTPUT, VS_ANSWER_SPARED, VS_ANSWER_LOCAL } vs_answer_place;
/* What is quantized of a layer; of a layer that is named, what makes its noise (UNKNOWN: not measured apart, or an operand). */
typedef enum vs_answer_part { VS_ANSWER_UNKNOWN, VS_ANSWER_BOTH, VS_ANSWER_INPUT, VS_ANSWER_WEIGHT } vs_answer_part;

typedef enum vs_answer_verdict {
    VS_ANSWER_NOTHING, /* no noise at all; spared: no gain above chance; local: no layer loses much */
    VS_ANSWER_RUINED,  /* the named ones leave nothing of the output (-inf dB) */
    VS_ANSWER_FEW,     /* the named ones have most of the noise, or the first one more than half */
    VS_ANSWER_SPREAD,  /* they have not */
    VS_ANSWER_LISTED,  /* too few layers were looked at to say either; spared: gains; local: lost */
} vs_answer_verdict;

typedef struct vs_answer_layer {
    size_t row;
    double value; /* dB; spared: dB gained */
    double share; /* of the noise; 0 where there are none */
    vs_answer_part part;
    bool clipped; /* its input's noise is mostly of values beyond the grid's ends */
    bool has_gain;
    double gain; /* dB, if it alone stays in float */
} vs_answer_layer;

typedef struct vs_answer_finding {
    vs_answer_place place;
    vs_answer_part part; /* what is quantized */
    vs_answer_verdict verdict;
    vs_answer_layer *layers; /* worst first, ties in model order: all that were measured */
    size_t count;
    size_t named; /* the first so many are the answer; where the verdict is NOTHING, the worst for all that */
    double share; /* of the noise that the named ones have */
} vs_answer_finding;

enum { VS_ANSWER_FINDINGS = 4 };
typedef struct vs_answer {
    size_t recipe, state; /* state: of the recipe's name; each SIZE_MAX where there is none */
    vs_answer_finding findings[VS_ANSWER_FINDINGS];
    size_t finding_count;
    double chance;      /* dB: gains below it are; NAN where not known */
    size_t worst_local; /* the row that is worst at its own output where output names others; else SIZE_MAX */
    double worst_local_db, worst_local_share;
    bool disagrees;    /* the layers' noise added up is not the whole model's */
    double sum, whole; /* dB at the output: added up; measured */
} vs_answer;

VS_NODISCARD vs_status vs_answer_make(vs_answer *answer, const vs_results *results, vs_error *err);
void vs_answer_release(vs_answer *answer);

/* More than half of the noise of a row's quantized input, at the row's output, would go if its grid had the same steps and no
 * ends: clipping is the loss, not rounding. False where it was not measured. */
bool vs_answer_is_clipped(const vs_row_recipe *row);
/* The finding of a place and part, NULL where there is none. */
const vs_answer_finding *vs_answer_find(const vs_answer *answer, vs_answer_place place, vs_answer_part part);

#endif
