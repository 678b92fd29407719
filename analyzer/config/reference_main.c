/* Prints docs/config.md. */
#include "config/config.h"

int main(void) {
    vs_error err = { 0 };
    return vs_config_write_reference(stdout, &err) == VS_OK ? 0 : 1;
}
