// The words for what a check can end as.
#include "harness/status.h"

namespace lrnnx::bench {

const char* to_string(Status status) {
  switch (status) {
    case Status::passed:
      return "passed";
    case Status::failed:
      return "failed";
    case Status::mistrusted:
      return "mistrusted";
    case Status::skipped:
      return "skipped";
    case Status::error:
      return "error";
  }
  return "error";
}

const char* to_string(SkipReason reason) {
  switch (reason) {
    case SkipReason::none:
      return "none";
    case SkipReason::no_device:
      return "no device";
    case SkipReason::not_supported:
      return "not supported by the library";
    case SkipReason::not_enough_memory:
      return "not enough memory";
    case SkipReason::fill_does_not_apply:
      return "fill does not apply";
  }
  return "none";
}

}  // namespace lrnnx::bench
