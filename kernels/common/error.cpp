// Status names and the per-thread message of the C ABI.
#include "common/error.h"

#include <cstdarg>
#include <cstdio>

namespace lrnnx {
namespace {

// A fixed buffer: reporting a failure must not itself allocate. Longer messages are cut.
thread_local char message[1024] = "";

}  // namespace

lrnnx_status fail(lrnnx_status status, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  return status;
}

}  // namespace lrnnx

extern "C" const char* lrnnx_last_error(void) { return lrnnx::message; }

extern "C" const char* lrnnx_status_name(lrnnx_status status) {
  switch (status) {
    case LRNNX_OK:
      return "LRNNX_OK";
    case LRNNX_INVALID_ARGUMENT:
      return "LRNNX_INVALID_ARGUMENT";
    case LRNNX_UNSUPPORTED:
      return "LRNNX_UNSUPPORTED";
    case LRNNX_NO_DEVICE:
      return "LRNNX_NO_DEVICE";
    case LRNNX_CUDA_ERROR:
      return "LRNNX_CUDA_ERROR";
    case LRNNX_OUT_OF_MEMORY:
      return "LRNNX_OUT_OF_MEMORY";
  }
  return "unknown status";
}
