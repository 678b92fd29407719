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

# A folder below analyzer/ is seen under its own name ("half/real.h") by the targets that name it: vs_room gives a target's
# folder an include root of its own in the build tree, with a link to nothing but that folder.
function(vs_room target visibility)
  file(RELATIVE_PATH room ${PROJECT_SOURCE_DIR}/analyzer ${CMAKE_CURRENT_SOURCE_DIR})
  string(REGEX REPLACE "^[.][.]/" "" room ${room})
  get_filename_component(parent ${PROJECT_BINARY_DIR}/rooms/${target}/${room} DIRECTORY)
  file(MAKE_DIRECTORY ${parent})
  file(CREATE_LINK ${CMAKE_CURRENT_SOURCE_DIR} ${PROJECT_BINARY_DIR}/rooms/${target}/${room} SYMBOLIC)
  target_include_directories(${target} ${visibility} ${PROJECT_BINARY_DIR}/rooms/${target} ${PROJECT_SOURCE_DIR}/include)
endfunction()

# vs_module(name SOURCES ... DEPENDS ... PRIVATE ...): a folder is a module is a target. DEPENDS: what its headers need, PRIVATE: what
# only its sources include. An include against the direction of the architecture does not compile.
function(vs_module name)
  cmake_parse_arguments(M "" "" "SOURCES;DEPENDS;PRIVATE" ${ARGN})
  add_library(${name} STATIC ${M_SOURCES})
  vs_room(${name} PUBLIC)
  target_link_libraries(${name} PUBLIC ${M_DEPENDS} PRIVATE vs_options ${M_PRIVATE})
endfunction()
