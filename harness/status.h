// What a check can end as, and why it may not have been made.
#pragma once

namespace lrnnx::bench {

enum class Status {
  passed,      // every element of every output is what it should be
  failed,      // wrong numbers, memory that was not the launch's to write, or other bits when run again
  mistrusted,  // no fault was found, but a wrong result could have passed here
  skipped,     // not run: see SkipReason
  error        // the variant, the reference or the machine broke before there was a verdict
};
inline constexpr Status kStatuses[] = {Status::passed, Status::failed, Status::mistrusted, Status::skipped,
                                       Status::error};
const char* to_string(Status status);

enum class SkipReason {
  none,
  no_device,
  not_supported,        // the library does not compute this problem
  not_enough_memory,    // on the host or on the device
  fill_does_not_apply,  // the inputs asked for have no meaning for this problem
};
inline constexpr SkipReason kSkipReasons[] = {SkipReason::none, SkipReason::no_device, SkipReason::not_supported,
                                              SkipReason::not_enough_memory, SkipReason::fill_does_not_apply};
const char* to_string(SkipReason reason);

}  // namespace lrnnx::bench
