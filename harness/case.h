// One problem laid out in the memory of one backend, ready to launch any number of times.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "harness/backend.h"
#include "harness/library.h"
#include "harness/problem.h"
#include "harness/tensors.h"
#include "lrnnx/lrnnx.h"

namespace lrnnx::bench {

struct Bindings;

// Allocates every tensor between guard bytes, generates and copies the inputs, poisons outputs, saved and workspace
// with NaN; a backward case also runs the forward once, for `saved` and `out`. Keeps no copy on the host.
class Case {
 public:
  // Throws LibraryError (with a skip_reason() if the library does not compute the problem), SystemError, UsageError.
  // Keeps a reference to the library.
  Case(const Problem& problem, Backend& backend, const Library& library = linked_library());
  Case(Case&&) noexcept;
  ~Case();

  // One call through the C ABI, queued on backend().stream(). Cheap enough to be called in a timing loop.
  void launch() { launch_(); }

  const Problem& problem() const { return problem_; }
  Backend& backend() const { return *backend_; }
  lrnnx_memory memory() const { return memory_; }
  std::string configuration() const;  // that a launch uses, as the library prints it
  int64_t allocated_bytes() const;

  std::vector<TensorSpec> outputs() const;
  std::vector<std::string> output_names() const;
  std::vector<float> download(const std::string& name) const;  // after synchronising
  HostTensors download_outputs() const;                        // likewise
  std::vector<uint64_t> output_checksums() const;              // of every bit of each; likewise
  HostTensors inputs() const;                                  // generated afresh, equal to what was copied in
  // What the forward stored with less precision than it computed with, as a backward then reads it.
  HostTensors rounded_intermediates() const;

  void poison_outputs();  // outputs and workspace, as after construction
  void litter_outputs();  // both hold numbers, as if a launch had left them there
  // One number of one output, another one every time, becomes NaN before the next launch, which has to write all of
  // them again. As cheap as an empty kernel.
  void disturb_output();

  // seal() notes what a launch may only read; violations() then says, one sentence each, which of that changed and
  // which guard bytes were overwritten.
  void seal();
  std::vector<std::string> violations() const;

 private:
  struct Slot;
  void run_forward(const Bindings& backward);

  Problem problem_;
  Backend* backend_;
  const Library* library_;
  lrnnx_memory memory_{};
  std::vector<Slot> slots_;
  std::function<void()> launch_;
  uint64_t disturbed_ = 0;  // times
};

}  // namespace lrnnx::bench
