// Ends work early but in order: SIGINT, SIGTERM and SIGHUP set a flag that long loops look at.
#pragma once

#include <csignal>

namespace lrnnx::bench {

// While it lives, the first of these signals is only noted, so that what is in flight can finish and what was measured
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
  struct sigaction hang_up_ {};
};

}  // namespace lrnnx::bench
