# Flags every target gets. -ffp-contract=off: one formula, one rounding, on every machine.
add_library(vs_options INTERFACE)
target_compile_definitions(vs_options INTERFACE _POSIX_C_SOURCE=200809L)
target_compile_options(vs_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wdouble-promotion -Wfloat-conversion
  $<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes;-Wmissing-prototypes;-Wold-style-definition>
  -Wvla -Wundef -Wformat=2 -Wcast-qual
  -Wwrite-strings -Wpointer-arith -Wnull-dereference -Wimplicit-fallthrough
  -ffp-contract=off -fno-math-errno)
if(VS_WERROR)
  target_compile_options(vs_options INTERFACE -Werror)
endif()
if(VS_SANITIZE)
  set(san -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_compile_options(vs_options INTERFACE ${san} -fsanitize=float-cast-overflow)
  target_link_options(vs_options INTERFACE ${san})
endif()
if(VS_SANITIZE_THREADS)
  # OpenMP's own synchronisation is known to the sanitizer through LLVM's runtime and libarcher alone
  if(NOT CMAKE_C_COMPILER_ID MATCHES Clang)
    message(FATAL_ERROR "VS_SANITIZE_THREADS needs clang: gcc's runtime synchronises unseen, and correct loops are reported")
  endif()
  target_compile_options(vs_options INTERFACE -fsanitize=thread -fno-omit-frame-pointer)
  target_link_options(vs_options INTERFACE -fsanitize=thread)
endif()
if(VS_FUZZ)
  target_compile_options(vs_options INTERFACE -fsanitize=fuzzer-no-link)
endif()
if(VS_COVERAGE)
  target_compile_options(vs_options INTERFACE --coverage)
  target_link_options(vs_options INTERFACE --coverage)
endif()

# vs_module(name SOURCES ... DEPENDS ...): a folder is a module is a target. Its headers are visible only to
# targets that name it in DEPENDS, so an include against the direction of the architecture does not compile.
function(vs_module name)
  cmake_parse_arguments(M "" "" "SOURCES;DEPENDS;PRIVATE" ${ARGN})
  add_library(${name} STATIC ${M_SOURCES})
  target_include_directories(${name} PUBLIC ${CMAKE_CURRENT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/include)
  target_link_libraries(${name} PUBLIC ${M_DEPENDS} PRIVATE vs_options ${M_PRIVATE})
endfunction()
