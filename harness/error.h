// What the harness throws, and the exit code that each kind ends the program with.
#pragma once

#include <stdexcept>
#include <string>

#include "harness/status.h"
#include "lrnnx/lrnnx.h"

namespace lrnnx::bench {

enum class ExitCode : int {
  ok = 0,
  wrong_numbers = 1,
  usage = 2,
  system = 3,
  nothing_ran = 4,
  slower = 5,
  ambiguous = 6
};

class Error : public std::runtime_error {
 public:
  Error(ExitCode exit_code, const std::string& message) : std::runtime_error(message), exit_code_(exit_code) {}
  ExitCode exit_code() const { return exit_code_; }

 private:
  ExitCode exit_code_;
};

// The user asked for something that does not exist or cannot be: names what was given and what is allowed.
class UsageError : public Error {
 public:
  explicit UsageError(const std::string& message) : Error(ExitCode::usage, message) {}
};

// CUDA, memory or a file failed: names the call and the reason.
class SystemError : public Error {
 public:
  explicit SystemError(const std::string& message) : Error(ExitCode::system, message) {}
};

// A buffer did not fit. The next problem may.
class OutOfMemory : public SystemError {
 public:
  using SystemError::SystemError;
};

// An entry point of the C ABI returned something other than LRNNX_OK.
class LibraryError : public Error {
 public:
  LibraryError(lrnnx_status status, const std::string& message)
      : Error(status == LRNNX_INVALID_ARGUMENT ? ExitCode::usage : ExitCode::system, message), status_(status) {}
  lrnnx_status status() const { return status_; }
  // Other than none if the problem is sound, but this build, this variant or this machine does not compute it.
  SkipReason skip_reason() const;
  bool is_skip() const { return skip_reason() != SkipReason::none; }

 private:
  lrnnx_status status_;
};

}  // namespace lrnnx::bench
