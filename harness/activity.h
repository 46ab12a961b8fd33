// What the process is doing, so that the wall time of a sweep can be accounted for. Without headers of others: device
// code includes it.
#pragma once

namespace lrnnx::bench {

enum class Activity {
  kernels,     // what is measured, and the same launches unmeasured
  flush,       // of the caches, before a cold sample
  oracle,      // the reference and its gauges
  sampling,    // what a sample takes besides the launch and the flush
  ceilings,    // measuring the rates of the machine
  inputs,      // generating and copying them
  comparison,  // of outputs with the reference, of guards and seals
};

// For as long as it lives the time of this process goes into the activity, but for what others within take. On one
// thread.
class Doing {
 public:
  explicit Doing(Activity activity);
  ~Doing();
  // So much of it went into another one.
  void credit(Activity other, double seconds);
  Doing(const Doing&) = delete;
  Doing& operator=(const Doing&) = delete;

 private:
  Activity activity_;
  Doing* around_;
};

}  // namespace lrnnx::bench
