/* quant.json and the SmoothQuant factors under smooth/: what an exporter needs (docs/results.md). */
#ifndef VS_QUANT_JSON_H
#define VS_QUANT_JSON_H

#include "study/study.h"

VS_NODISCARD vs_status vs_study_write_quant(const vs_study *study, const char *dir, vs_error *err);

#endif
