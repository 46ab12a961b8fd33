// What the C entry points of a selective scan do, whichever kernels are behind them: check, then hand over to the
// backend that the problem names.
#pragma once

#include <cstdint>
#include <string>

#include "lrnnx/lrnnx.h"

namespace lrnnx {

// What a backend does with valid arguments.
struct SelectiveScanBackend {
  lrnnx_status (*memory)(const lrnnx_selective_scan_problem&, lrnnx_direction, lrnnx_memory&);
  lrnnx_status (*configuration)(const lrnnx_selective_scan_problem&, lrnnx_direction, std::string&);
  lrnnx_status (*configuration_keys)(const lrnnx_selective_scan_problem&, lrnnx_direction, std::string&);
  lrnnx_status (*forward)(const lrnnx_selective_scan_problem&, const lrnnx_selective_scan_forward_args&);
  lrnnx_status (*backward)(const lrnnx_selective_scan_problem&, const lrnnx_selective_scan_backward_args&);
};

// The functions of the C ABI. `cuda` is never called where it is not built in, and may then be empty.
struct SelectiveScanEntry {
  SelectiveScanBackend cpu, cuda;

  lrnnx_status memory(const lrnnx_selective_scan_problem* problem, const lrnnx_direction& direction,
                      lrnnx_memory* memory) const;
  lrnnx_status configuration(const lrnnx_selective_scan_problem* problem, const lrnnx_direction& direction, char* text,
                             int64_t capacity) const;
  lrnnx_status configuration_keys(const lrnnx_selective_scan_problem* problem, const lrnnx_direction& direction,
                                  char* text, int64_t capacity) const;
  lrnnx_status forward(const lrnnx_selective_scan_problem* problem,
                       const lrnnx_selective_scan_forward_args* args) const;
  lrnnx_status backward(const lrnnx_selective_scan_problem* problem,
                        const lrnnx_selective_scan_backward_args* args) const;
};

}  // namespace lrnnx
