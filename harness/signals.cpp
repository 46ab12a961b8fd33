// Ends work early but in order.
#include "harness/signals.h"

#include <ctime>

namespace lrnnx::bench {
namespace {

volatile std::sig_atomic_t g_signal = 0;

// One request may come as several signals: timeout(1) signals the process and then its group.
constexpr double kSameRequestSeconds = 0.3;

double now() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

void note(int signal) {
  static double first = 0;
  if (g_signal == 0) {
    first = now();
    g_signal = signal;
  } else if (now() - first > kSameRequestSeconds) {
    std::signal(signal, SIG_DFL);
    raise(signal);
  }
}

}  // namespace

StopOnSignal::StopOnSignal() {
  g_signal = 0;
  struct sigaction action {};
  action.sa_handler = note;
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, &interrupt_);
  sigaction(SIGTERM, &action, &terminate_);
  // Who asked with nohup to go on does.
  sigaction(SIGHUP, nullptr, &hang_up_);
  if (hang_up_.sa_handler != SIG_IGN) sigaction(SIGHUP, &action, nullptr);
}

StopOnSignal::~StopOnSignal() {
  sigaction(SIGINT, &interrupt_, nullptr);
  sigaction(SIGTERM, &terminate_, nullptr);
  sigaction(SIGHUP, &hang_up_, nullptr);
}

const volatile std::sig_atomic_t* StopOnSignal::flag() { return &g_signal; }

}  // namespace lrnnx::bench
