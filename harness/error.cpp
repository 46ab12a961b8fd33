// Which statuses of the C ABI are no fault.
#include "harness/error.h"

namespace lrnnx::bench {

SkipReason LibraryError::skip_reason() const {
  switch (status_) {
    case LRNNX_NO_DEVICE:
      return SkipReason::no_device;
    case LRNNX_UNSUPPORTED:
      return SkipReason::not_supported;
    case LRNNX_OUT_OF_MEMORY:
      return SkipReason::not_enough_memory;
    default:
      return SkipReason::none;
  }
}

}  // namespace lrnnx::bench
