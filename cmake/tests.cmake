# Tests: every tests/unit/test_*.c is one cmocka program; every tests/cases/*.sh one command-line test.
# Programs run in the source tree and get its path as SP_SOURCE_DIR; ../shared/data is used where it exists.
if(PKG_CONFIG_FOUND AND NOT CMAKE_CROSSCOMPILING)
  pkg_check_modules(SP_CMOCKA QUIET IMPORTED_TARGET cmocka)
endif()
set(SP_TEST_ENV "SP_SOURCE_DIR=${CMAKE_SOURCE_DIR};SP_BUILD_DIR=${CMAKE_BINARY_DIR};SPUTNIK=$<TARGET_FILE:sputnik>;CC=${CMAKE_C_COMPILER};UBSAN_OPTIONS=print_stacktrace=1")

file(GLOB SP_UNIT_TESTS CONFIGURE_DEPENDS tests/unit/test_*.c)
if(NOT SP_CMOCKA_FOUND)
  message(STATUS "cmocka not found: unit tests are left out")
  set(SP_UNIT_TESTS "")
  # the kernel comparison also runs without it: cross builds have no cmocka
  add_executable(test_kernels tests/unit/test_kernels.c $<TARGET_OBJECTS:sputnik_objects>)
  target_include_directories(test_kernels PRIVATE include src)
  target_compile_definitions(test_kernels PRIVATE SP_NO_CMOCKA)
  target_link_libraries(test_kernels PRIVATE Threads::Threads m ${SP_LIB_PARTS})
  add_test(NAME test_kernels COMMAND test_kernels WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(test_kernels PROPERTIES ENVIRONMENT "${SP_TEST_ENV}" TIMEOUT 300)
endif()
if(NOT SP_HAVE_JANSSON OR NOT SP_HAVE_PCRE2)
  list(FILTER SP_UNIT_TESTS INCLUDE REGEX "test_(amx|dtype|gguf|kernels|loop_guard|ops|ops_backward|sha256)\\.c$")
endif()
# The AMX rows on tiles in C (tests/unit/amx_emulated.h).
add_library(amx_emulated OBJECT src/tensor/matmul_amx.c tests/unit/amx_emulated.c)
target_include_directories(amx_emulated PRIVATE include src tests/unit)
target_compile_definitions(amx_emulated PRIVATE "SP_AMX_EMULATED=\"amx_emulated.h\"")
target_compile_options(amx_emulated PRIVATE -fno-sanitize=thread) # one thread, and every byte of every product a call
foreach(source ${SP_UNIT_TESTS})
  get_filename_component(name ${source} NAME_WE)
  add_executable(${name} ${source} $<TARGET_OBJECTS:sputnik_server> $<TARGET_OBJECTS:sputnik_objects>)
  target_include_directories(${name} PRIVATE include src tests/unit)
  target_compile_definitions(${name} PRIVATE ${SP_LIB_DEFS} ${SP_SERVER_DEFS})
  target_link_libraries(${name} PRIVATE Threads::Threads m ${SP_LIB_PARTS} ${SP_SERVER_PARTS} PkgConfig::SP_CMOCKA)
  if(name STREQUAL test_amx)
    target_sources(${name} PRIVATE $<TARGET_OBJECTS:amx_emulated>)
  endif()
  add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(${name} PROPERTIES ENVIRONMENT "${SP_TEST_ENV}" TIMEOUT 300)
endforeach()

file(GLOB SP_CASE_TESTS CONFIGURE_DEPENDS tests/cases/test_*.sh)
foreach(script ${SP_CASE_TESTS})
  get_filename_component(name ${script} NAME_WE)
  add_test(NAME case_${name} COMMAND sh ${script} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(case_${name} PROPERTIES ENVIRONMENT "${SP_TEST_ENV}" TIMEOUT 300 SKIP_RETURN_CODE 77)
endforeach()

add_test(NAME floors COMMAND sh tools/check_floors.sh WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
add_test(NAME headers_alone COMMAND sh tools/check_headers.sh WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
set_tests_properties(headers_alone PROPERTIES ENVIRONMENT "${SP_TEST_ENV}")

# Fuzz targets are also plain programs that replay their corpora (tests/fuzz/<target>/).
file(GLOB SP_FUZZ_SOURCES CONFIGURE_DEPENDS tests/fuzz/fuzz_*.c)
foreach(source ${SP_FUZZ_SOURCES})
  get_filename_component(name ${source} NAME_WE)
  string(REPLACE "fuzz_" "" target ${name})
  add_executable(replay_${target} ${source} tests/fuzz/replay_main.c $<TARGET_OBJECTS:sputnik_server>
    $<TARGET_OBJECTS:sputnik_objects>)
  target_include_directories(replay_${target} PRIVATE include src)
  target_compile_definitions(replay_${target} PRIVATE ${SP_LIB_DEFS} ${SP_SERVER_DEFS})
  target_link_libraries(replay_${target} PRIVATE Threads::Threads m ${SP_LIB_PARTS} ${SP_SERVER_PARTS})
  add_test(NAME replay_${target} COMMAND replay_${target} tests/fuzz/corpus/${target} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(replay_${target} PROPERTIES ENVIRONMENT "${SP_TEST_ENV}" TIMEOUT 300)
endforeach()

# Many streaming clients of a server, for tests/clients and figures.
add_executable(serve_load tests/load/serve_load.c $<TARGET_OBJECTS:sputnik_objects>)
target_include_directories(serve_load PRIVATE include src)
target_compile_definitions(serve_load PRIVATE ${SP_LIB_DEFS})
target_link_libraries(serve_load PRIVATE Threads::Threads m ${SP_LIB_PARTS})

# Judges texts by JSON schemas for tests/clients/test_json_schema_suite.py.
add_executable(grammar_check tests/clients/grammar_check.c $<TARGET_OBJECTS:sputnik_objects>)
target_include_directories(grammar_check PRIVATE include src)
target_compile_definitions(grammar_check PRIVATE ${SP_LIB_DEFS})
target_link_libraries(grammar_check PRIVATE Threads::Threads m ${SP_LIB_PARTS})
