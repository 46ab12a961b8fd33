// Ends work early but in order: SIGINT and SIGTERM set a flag that long loops look at.
#pragma once

#include <csignal>

namespace lrnnx::bench {

// While it lives, the first SIGINT or SIGTERM is only noted, so that what is in flight can finish and what was measured
// is written; the second one ends the program at once. One at a time.
class StopOnSignal {
 public:
  StopOnSignal();
  ~StopOnSignal();
  StopOnSignal(const StopOnSignal&) = delete;
  StopOnSignal& operator=(const StopOnSignal&) = delete;

  int signal() const { return *flag(); }  // 0: none yet
  static const volatile std::sig_atomic_t* flag();

 private:
  struct sigaction interrupt_ {};
  struct sigaction terminate_ {};
};

}  // namespace lrnnx::bench
