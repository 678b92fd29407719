/* cmocka wants these four headers before its own. */
#ifndef VS_CMOCKA_ALL_H
#define VS_CMOCKA_ALL_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#endif
