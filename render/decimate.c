#include <math.h>

#include "render/render.h"

/* Cell i of `cells` covers [i * n / cells, (i + 1) * n / cells), at least one element. */
void vs_decimate_max(const float *in, size_t tokens, size_t channels, float *out, size_t out_tokens, size_t out_channels) {
    for (size_t i = 0; i < out_tokens * out_channels; i++) out[i] = 0;
    for (size_t t = 0; t < tokens; t++) {
        float *row = out + (t * out_tokens / tokens) * out_channels;
        for (size_t c = 0; c < channels; c++) {
            const float v = in[t * channels + c];
            float *cell = row + c * out_channels / channels;
            if (v > *cell || isnan(v)) *cell = v;
        }
    }
}
