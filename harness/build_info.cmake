# Run at every build: writes OUTPUT, a header that says what is being built. The file changes only if the answer does.
find_package(Git QUIET)
set(commit "")
set(dirty false)
if(GIT_FOUND)
  execute_process(COMMAND ${GIT_EXECUTABLE} rev-parse HEAD WORKING_DIRECTORY ${SOURCE_DIR}
                  OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  # Only what goes into the binary: results that a run leaves in the tree do not make the program another one.
  execute_process(COMMAND ${GIT_EXECUTABLE} status --porcelain -- kernels reference harness CMakeLists.txt
                  WORKING_DIRECTORY ${SOURCE_DIR}
                  OUTPUT_VARIABLE changes OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  if(changes)
    set(dirty true)
  endif()
endif()
file(CONFIGURE OUTPUT ${OUTPUT} @ONLY CONTENT [[// Written by harness/build_info.cmake.
#pragma once

namespace lrnnx::bench {
inline constexpr char kVersion[] = "@VERSION@";
inline constexpr char kGitCommit[] = "@commit@";  // empty: built outside a git checkout
inline constexpr bool kGitDirty = @dirty@;
inline constexpr char kBuildType[] = "@BUILD_TYPE@";
inline constexpr char kCudaCompiler[] = "@CUDA_COMPILER@";  // empty: built without CUDA
inline constexpr char kCudaArchitectures[] = "@CUDA_ARCHITECTURES@";
}  // namespace lrnnx::bench
]])
