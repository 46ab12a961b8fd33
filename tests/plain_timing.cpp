// Does the harness measure what a plain loop measures? Times some calls of the C ABI with two CUDA events around each
// and an overwritten L2 cache before it, asks the harness for the same problems, and prints both. Usage: plain-timing
// LRNNX_BENCH. Exit code 1 if a pair differs by more than 2 % and 0.5 us; 4 without a GPU.
#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "lrnnx/lrnnx.h"

namespace {

constexpr int kSamples = 200;
constexpr size_t kFlushBytes = size_t{256} << 20;

void require(cudaError_t error) {
  if (error != cudaSuccess) throw std::runtime_error(cudaGetErrorString(error));
}
void require(lrnnx_status status) {
  if (status != LRNNX_OK) throw std::runtime_error(lrnnx_last_error());
}

struct Free {
  void operator()(void* data) const { cudaFree(data); }
};
using Memory = std::unique_ptr<void, Free>;
Memory allocate(int64_t bytes) {
  void* data = nullptr;
  require(cudaMalloc(&data, static_cast<size_t>(std::max<int64_t>(bytes, 4))));
  return Memory(data);
}

// `count` floats drawn from [low, high): a million of them, over and over.
struct Floats {
  Floats(int64_t count, float low, float high) : count(count), memory(allocate(count * 4)) {
    std::mt19937 random(static_cast<unsigned>(count));
    std::uniform_real_distribution<float> uniform(low, high);
    std::vector<float> values(static_cast<size_t>(std::min<int64_t>(count, 1 << 20)));
    for (float& value : values) value = uniform(random);
    const int64_t piece = static_cast<int64_t>(values.size());
    for (int64_t at = 0; at < count; at += piece) {
      require(cudaMemcpy(static_cast<float*>(memory.get()) + at, values.data(),
                         static_cast<size_t>(std::min(piece, count - at)) * 4, cudaMemcpyHostToDevice));
    }
  }
  lrnnx_tensor view() const { return {memory.get(), count, 0, 0}; }
  int64_t count;
  Memory memory;
};

struct Shape {
  int64_t batch, dim, seqlen, dstate;
};

// Median milliseconds of `launch`.
template <class Launch>
double time(Launch launch) {
  const Memory flushed = allocate(kFlushBytes);
  std::array<cudaEvent_t, 2> events;
  for (cudaEvent_t& event : events) require(cudaEventCreate(&event));
  std::vector<float> samples;
  for (int i = -3; i < kSamples; ++i) {
    require(cudaCtxResetPersistingL2Cache());
    require(cudaMemsetAsync(flushed.get(), i & 255, kFlushBytes, nullptr));
    require(cudaEventRecord(events[0], nullptr));
    launch();
    require(cudaEventRecord(events[1], nullptr));
    require(cudaEventSynchronize(events[1]));
    float ms = 0;
    require(cudaEventElapsedTime(&ms, events[0], events[1]));
    if (i >= 0) samples.push_back(ms);
  }
  for (const cudaEvent_t event : events) cudaEventDestroy(event);
  std::nth_element(samples.begin(), samples.begin() + kSamples / 2, samples.end());
  return samples[kSamples / 2];
}

// Forward and backward of real mamba in training mode.
std::array<double, 2> plain_ms(const Shape& shape) {
  const lrnnx_selective_scan_problem problem = {.discretization = LRNNX_MAMBA,
                                                .dtype = LRNNX_F32,
                                                .backend = LRNNX_CUDA,
                                                .options = LRNNX_VARIABLE_B | LRNNX_VARIABLE_C | LRNNX_HAS_D |
                                                           LRNNX_HAS_Z | LRNNX_HAS_DELTA_BIAS | LRNNX_DELTA_SOFTPLUS |
                                                           LRNNX_SAVE_FOR_BACKWARD,
                                                .batch = shape.batch,
                                                .dim = shape.dim,
                                                .seqlen = shape.seqlen,
                                                .dstate = shape.dstate,
                                                .groups = 1,
                                                .configuration = nullptr};
  const int64_t steps = shape.batch * shape.dim * shape.seqlen, states = shape.batch * shape.dstate * shape.seqlen;
  const Floats u(steps, -1, 1), delta(steps, -1, 1), z(steps, -2, 2), dout(steps, -1, 1), B(states, -1, 1),
      C(states, -1, 1), A(shape.dim * shape.dstate, -16, -1), D(shape.dim, -1, 1), bias(shape.dim, -7, -2),
      out(steps, 0, 1), out_z(steps, 0, 1), du(steps, 0, 1), ddelta(steps, 0, 1), dz(steps, 0, 1), dB(states, 0, 1),
      dC(states, 0, 1), dA(A.count, 0, 1), dD(shape.dim, 0, 1), dbias(shape.dim, 0, 1);
  lrnnx_memory forward_memory, backward_memory;
  require(lrnnx_selective_scan_memory(&problem, LRNNX_FORWARD, &forward_memory));
  require(lrnnx_selective_scan_memory(&problem, LRNNX_BACKWARD, &backward_memory));
  const int64_t workspace_bytes = std::max(forward_memory.workspace_bytes, backward_memory.workspace_bytes);
  const Memory saved = allocate(forward_memory.saved_bytes), workspace = allocate(workspace_bytes);

  lrnnx_selective_scan_forward_args forward = {};
  forward.u = u.view(), forward.delta = delta.view(), forward.A = A.view(), forward.B = B.view();
  forward.C = C.view(), forward.D = D.view(), forward.z = z.view(), forward.delta_bias = bias.view();
  forward.out = out.view(), forward.out_z = out_z.view(), forward.saved = saved.get();
  forward.saved_bytes = forward_memory.saved_bytes, forward.workspace = workspace.get();
  forward.workspace_bytes = workspace_bytes;
  lrnnx_selective_scan_backward_args backward = {};
  backward.u = forward.u, backward.delta = forward.delta, backward.A = forward.A, backward.B = forward.B;
  backward.C = forward.C, backward.D = forward.D, backward.z = forward.z, backward.delta_bias = forward.delta_bias;
  backward.out = out.view(), backward.dout = dout.view(), backward.du = du.view(), backward.ddelta = ddelta.view();
  backward.dA = dA.view(), backward.dB = dB.view(), backward.dC = dC.view(), backward.dD = dD.view();
  backward.dz = dz.view(), backward.ddelta_bias = dbias.view(), backward.saved = saved.get();
  backward.saved_bytes = forward_memory.saved_bytes, backward.workspace = workspace.get();
  backward.workspace_bytes = workspace_bytes;
  return {time([&] { require(lrnnx_selective_scan_forward(&problem, &forward)); }),
          time([&] { require(lrnnx_selective_scan_backward(&problem, &backward)); })};
}

double harness_ms(const std::string& bench, const Shape& shape, const char* direction) {
  const std::string command = fmt::format(
      "'{}' sweep --quiet --no-check --backend cuda --json - --problem 'selective_scan.mamba.f32.{}.cuda batch={} "
      "dim={} seqlen={} dstate={} groups=1 options=B,C,D,z,delta_bias,delta_softplus{}'",
      bench, direction, shape.batch, shape.dim, shape.seqlen, shape.dstate,
      std::string_view(direction) == "forward" ? ",save" : "");
  FILE* const pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) throw std::runtime_error(command);
  std::string text;
  std::array<char, 4096> piece;
  for (size_t count; (count = fread(piece.data(), 1, piece.size(), pipe)) > 0;) text.append(piece.data(), count);
  if (pclose(pipe) != 0) throw std::runtime_error(command);
  return nlohmann::json::parse(text).at("results").at(0).at("median_ms");
}

int run(const std::string& bench) {
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
    fmt::print(stderr, "plain-timing: no CUDA device\n");
    return 4;
  }
  bool agree = true;
  fmt::print("{:<10} {:<20} {:>10} {:>12} {:>10}\n", "direction", "B, D, L, N", "plain ms", "harness ms", "harness is");
  for (const Shape& shape : {Shape{8, 2048, 2048, 16}, Shape{32, 256, 1024, 16}, Shape{2, 256, 256, 16}}) {
    const std::array<double, 2> plain = plain_ms(shape);
    for (int i = 0; i < 2; ++i) {
      const char* const direction = i == 0 ? "forward" : "backward";
      const double harness = harness_ms(bench, shape, direction), difference = harness - plain[i];
      const bool close = std::abs(difference) <= std::max(0.02 * plain[i], 0.0005);
      agree = agree && close;
      fmt::print("{:<10} {:<20} {:>10.4f} {:>12.4f} {:>+9.2f} %{}\n", direction,
                 fmt::format("{}, {}, {}, {}", shape.batch, shape.dim, shape.seqlen, shape.dstate), plain[i], harness,
                 100 * difference / plain[i], close ? "" : ": not the same");
    }
  }
  return agree ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    fmt::print(stderr, "usage: plain-timing LRNNX_BENCH\n");
    return 2;
  }
  try {
    return run(argv[1]);
  } catch (const std::exception& error) {
    fmt::print(stderr, "plain-timing: {}\n", error.what());
    return 3;
  }
}
