// Which variants of the CUDA backend the emulation does not have.
#pragma once

namespace lrnnx::emulation {

bool is_left_out(const char* discretization, const char* dtype);

}  // namespace lrnnx::emulation
