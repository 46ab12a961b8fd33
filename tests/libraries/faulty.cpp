// Libraries that are wrong in one way each, which LRNNX_FAULT names; built once for each, to see what it costs. One is
// only slow, and tells when it runs.
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>

#include "lrnnx/lrnnx.h"

namespace {

enum class Fault {
  crash_on_load,
  crash_in_call,
  crash_late,  // in the tenth launch
  hang_in_call,
  wrong_version,
  wrong_numbers,
  missing_symbol,  // without lrnnx_selective_scan_backward
  null_strings,
  exits_on_load,
  answers_itself,  // in the place of the process that it is loaded into
  stops_itself,    // in its fourth launch, as if somebody had told the process to end
  none,  // takes a millisecond, and adds a line to each of two files: with its process to that which LRNNX_TRACE names,
         // with the devices that it sees to that of LRNNX_TRACE_DEVICES
};
constexpr Fault kFault = Fault::LRNNX_FAULT;

void add_line(const char* path, const char* line) {
  std::FILE* const file = path ? std::fopen(path, "a") : nullptr;
  if (!file) return;
  std::fprintf(file, "%s\n", line);
  std::fclose(file);
}

void trace() {
  std::this_thread::sleep_for(std::chrono::milliseconds(1));
  add_line(std::getenv("LRNNX_TRACE"), std::to_string(::getpid()).c_str());
  const char* const devices = std::getenv("CUDA_VISIBLE_DEVICES");
  add_line(std::getenv("LRNNX_TRACE_DEVICES"), devices ? devices : "all");
}

[[noreturn]] void hang() {
  while (true) std::this_thread::sleep_for(std::chrono::seconds(1));
}

struct OnLoad {
  OnLoad() {
    if (kFault == Fault::crash_on_load) std::abort();
    if (kFault == Fault::exits_on_load) std::_Exit(0);
    std::puts("a library may print");
  }
} on_load;

}  // namespace

extern "C" {

int32_t lrnnx_abi_version(void) { return kFault == Fault::wrong_version ? 1000 : LRNNX_ABI_VERSION; }

const char* lrnnx_status_name(lrnnx_status) { return nullptr; }

const char* lrnnx_last_error(void) { return nullptr; }

int64_t lrnnx_variant_count(void) { return 1; }

lrnnx_status lrnnx_variant_at(int64_t, lrnnx_variant* variant) {
  if (kFault == Fault::null_strings) return LRNNX_OK;
  *variant = {.family = "selective_scan",
              .discretization = "mamba",
              .dtype = "f32",
              .direction = "forward",
              .backend = "cpu",
              .options = LRNNX_VARIABLE_B | LRNNX_VARIABLE_C,
              .takes_A = 1,
              .takes_B = 1};
  return LRNNX_OK;
}

lrnnx_status lrnnx_selective_scan_memory(const lrnnx_selective_scan_problem*, lrnnx_direction, lrnnx_memory* memory) {
  *memory = {};
  return LRNNX_OK;
}

lrnnx_status lrnnx_selective_scan_configuration(const lrnnx_selective_scan_problem*, lrnnx_direction, char* text,
                                                int64_t) {
  *text = '\0';
  return LRNNX_OK;
}

lrnnx_status lrnnx_selective_scan_forward(const lrnnx_selective_scan_problem*,
                                          const lrnnx_selective_scan_forward_args* args) {
  static int launches = 0;
  ++launches;
  if (kFault == Fault::crash_in_call || (kFault == Fault::crash_late && launches == 10)) std::abort();
  if (kFault == Fault::hang_in_call) hang();
  if (kFault == Fault::answers_itself) (void)!::write(3, "{\"x\": 1}\n", 9);
  if (kFault == Fault::stops_itself && launches == 4) std::raise(SIGTERM);
  if (kFault == Fault::none) trace();
  std::memset(args->out.data, 0, static_cast<size_t>(args->out.size) * sizeof(float));
  return LRNNX_OK;
}

#ifndef LRNNX_WITHOUT_BACKWARD
lrnnx_status lrnnx_selective_scan_backward(const lrnnx_selective_scan_problem*,
                                           const lrnnx_selective_scan_backward_args*) {
  return LRNNX_UNSUPPORTED;
}
#endif

}  // extern "C"
