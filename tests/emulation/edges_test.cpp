// What the checker's inputs do not pin down: calls of the emulated CUDA backend on numbers chosen by hand.
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <memory>
#include <vector>

#include "lrnnx/lrnnx.h"

namespace {

class Emulated : public testing::Test {
 protected:
  template <class Function>
  Function* function(const char* name) const {
    return reinterpret_cast<Function*>(dlsym(library_, name));
  }
  void SetUp() override { ASSERT_NE(library_, nullptr) << dlerror(); }

  // The forward of one channel whose N states all have the weight `A`, and B and C of ones; deltaA may be empty.
  std::vector<float> run_channel(float A, int64_t N, const std::vector<float>& u, const std::vector<float>& delta,
                                 const std::vector<float>& deltaA, const char* configuration) const {
    const auto L = static_cast<int64_t>(u.size());
    const std::vector<float> weights(static_cast<size_t>(N), A), ones(static_cast<size_t>(N * L), 1);
    std::vector<float> out(u.size());
    const uint32_t options = LRNNX_VARIABLE_B | LRNNX_VARIABLE_C | (deltaA.empty() ? 0 : LRNNX_HAS_DELTA_A);
    const lrnnx_selective_scan_problem problem = {.discretization = LRNNX_MAMBA,
                                                  .dtype = LRNNX_F32,
                                                  .backend = LRNNX_CPU,
                                                  .options = options,
                                                  .batch = 1,
                                                  .dim = 1,
                                                  .seqlen = L,
                                                  .dstate = N,
                                                  .groups = 1,
                                                  .configuration = configuration};
    lrnnx_memory memory{};
    EXPECT_EQ(function<decltype(lrnnx_selective_scan_memory)>("lrnnx_selective_scan_memory")(&problem, LRNNX_FORWARD,
                                                                                             &memory),
              LRNNX_OK);
    const std::unique_ptr<void, decltype(&std::free)> workspace(
        std::aligned_alloc(256, static_cast<size_t>(memory.workspace_bytes + 256) / 256 * 256), &std::free);
    const auto tensor = [](const std::vector<float>& values) {
      return lrnnx_tensor{const_cast<float*>(values.data()), static_cast<int64_t>(values.size()), 0, 0};
    };
    lrnnx_selective_scan_forward_args args{};
    args.u = tensor(u);
    args.delta = tensor(delta);
    if (!deltaA.empty()) args.deltaA = tensor(deltaA);
    args.A = tensor(weights);
    args.B = args.C = tensor(ones);
    args.out = tensor(out);
    args.workspace = workspace.get();
    args.workspace_bytes = memory.workspace_bytes;
    EXPECT_EQ(function<decltype(lrnnx_selective_scan_forward)>("lrnnx_selective_scan_forward")(&problem, &args),
              LRNNX_OK);
    return out;
  }

  void* const library_ = dlopen(LRNNX_EMULATED, RTLD_NOW | RTLD_LOCAL);
};

// With A < 0 it is a reset, whatever number of states a pass has room for.
TEST_F(Emulated, AnInfiniteStepOfTheTransitionForgetsAndNothingElse) {
  constexpr int64_t L = 8;
  std::vector<float> deltaA(L, 0.5f);
  deltaA[3] = std::numeric_limits<float>::infinity();
  for (const int64_t N : {2, 3, 16, 17}) {
    const std::vector<float> ones(L, 1), out = run_channel(-1, N, ones, ones, deltaA, nullptr);
    EXPECT_FLOAT_EQ(out[3], static_cast<float>(N)) << N << " states: only what came in at that step";
    for (const float y : out) EXPECT_TRUE(std::isfinite(y)) << N << " states";
  }
}

// What the forward saves is the same whatever the strides, though kernels of other rows read it.
TEST_F(Emulated, TheBackwardMayHaveOtherStridesThanTheForward) {
  constexpr int64_t D = 192, L = 67, N = 2, padded = L + 5;
  const auto filled = [](int64_t count, float scale, float first) {
    std::vector<float> values(static_cast<size_t>(count));
    for (size_t i = 0; i < values.size(); ++i) values[i] = first + scale * static_cast<float>((i * 7919) % 101) / 101;
    return values;
  };
  const std::vector<float> A = filled(D * N, -1, -0.1f), B = filled(N * L, 1, -0.5f), C = filled(N * L, 1, -0.4f);
  const lrnnx_selective_scan_problem problem = {
      .discretization = LRNNX_MAMBA,
      .dtype = LRNNX_F32,
      .backend = LRNNX_CPU,
      .options = LRNNX_VARIABLE_B | LRNNX_VARIABLE_C | LRNNX_SAVE_FOR_BACKWARD,
      .batch = 1,
      .dim = D,
      .seqlen = L,
      .dstate = N,
      .groups = 1,
      .configuration = nullptr};
  using Memory = std::unique_ptr<float, decltype(&std::free)>;
  const auto allocate = [](int64_t bytes) {
    return Memory(static_cast<float*>(std::aligned_alloc(256, static_cast<size_t>(bytes + 256) / 256 * 256)),
                  &std::free);
  };
  struct Rows {
    Memory memory;
    int64_t stride;
    float* row(int64_t d) const { return memory.get() + d * stride; }
    lrnnx_tensor tensor() const { return {memory.get(), stride * D, stride * D, stride}; }
  };
  const auto rows_of = [&](int64_t stride, float scale, float first) {
    Rows rows{allocate(stride * D * 4), stride};
    const std::vector<float> values = filled(D * L, scale, first);
    for (int64_t i = 0; i < D * L; ++i) rows.row(i / L)[i % L] = values[static_cast<size_t>(i)];
    return rows;
  };
  auto* const query = function<decltype(lrnnx_selective_scan_memory)>("lrnnx_selective_scan_memory");
  lrnnx_memory forward_memory, backward_memory;
  ASSERT_EQ(query(&problem, LRNNX_FORWARD, &forward_memory), LRNNX_OK);
  ASSERT_EQ(query(&problem, LRNNX_BACKWARD, &backward_memory), LRNNX_OK);
  const Memory saved = allocate(forward_memory.saved_bytes),
               forward_workspace = allocate(forward_memory.workspace_bytes),
               workspace = allocate(backward_memory.workspace_bytes);

  const Rows u = rows_of(L, 1, -0.5f), delta = rows_of(L, 0.1f, 0.01f), out = rows_of(L, 0, 0);
  lrnnx_selective_scan_forward_args forward{};
  forward.u = u.tensor();
  forward.delta = delta.tensor();
  forward.A = {const_cast<float*>(A.data()), D * N, 0, 0};
  forward.B = {const_cast<float*>(B.data()), N * L, 0, 0};
  forward.C = {const_cast<float*>(C.data()), N * L, 0, 0};
  forward.out = out.tensor();
  forward.saved = saved.get();
  forward.saved_bytes = forward_memory.saved_bytes;
  forward.workspace = forward_workspace.get();
  forward.workspace_bytes = forward_memory.workspace_bytes;
  ASSERT_EQ(function<decltype(lrnnx_selective_scan_forward)>("lrnnx_selective_scan_forward")(&problem, &forward),
            LRNNX_OK);

  std::vector<float> dA[2] = {std::vector<float>(D * N), std::vector<float>(D * N)};
  std::vector<float> dB[2] = {std::vector<float>(N * L), std::vector<float>(N * L)}, dC = dB[0];
  for (const int other : {0, 1}) {
    const int64_t stride = other ? padded : L;
    const Rows u = rows_of(stride, 1, -0.5f), delta = rows_of(stride, 0.1f, 0.01f), dout = rows_of(stride, 2, -1),
               du = rows_of(stride, 0, 0), ddelta = rows_of(stride, 0, 0);
    lrnnx_selective_scan_backward_args backward{};
    backward.u = u.tensor();
    backward.delta = delta.tensor();
    backward.A = forward.A;
    backward.B = forward.B;
    backward.C = forward.C;
    backward.dout = dout.tensor();
    backward.saved = saved.get();
    backward.saved_bytes = forward_memory.saved_bytes;
    backward.du = du.tensor();
    backward.ddelta = ddelta.tensor();
    backward.dA = {dA[other].data(), D * N, 0, 0};
    backward.dB = {dB[other].data(), N * L, 0, 0};
    backward.dC = {dC.data(), N * L, 0, 0};
    backward.workspace = workspace.get();
    backward.workspace_bytes = backward_memory.workspace_bytes;
    ASSERT_EQ(function<decltype(lrnnx_selective_scan_backward)>("lrnnx_selective_scan_backward")(&problem, &backward),
              LRNNX_OK);
  }
  for (size_t i = 0; i < dA[0].size(); ++i) EXPECT_NEAR(dA[0][i], dA[1][i], 1e-5f + 1e-5f * std::abs(dA[0][i])) << i;
  for (size_t i = 0; i < dB[0].size(); ++i) EXPECT_NEAR(dB[0][i], dB[1][i], 1e-5f + 1e-5f * std::abs(dB[0][i])) << i;
}

// A part of time may grow a state by more than a float holds; what enters it may be nothing, or so little that the
// state it leaves is a number.
TEST_F(Emulated, APartOfTimeThatGrowsBeyondFloatsIsCarriedOver) {
  constexpr int64_t L = 512, N = 2, part = 128;
  for (const float entering : {0.0f, 1e-30f}) {
    std::vector<float> u(L, 1), delta(L, 0.01f);
    std::fill_n(u.begin(), 2 * part, 0.0f);
    std::fill_n(delta.begin() + part, part, 1.0f);  // by exp(128)
    u[part - 1] = entering;
    const std::vector<float> whole = run_channel(1, N, u, delta, {}, "splits=1"),
                             parts = run_channel(1, N, u, delta, {}, "splits=4");
    for (size_t t = 0; t < L; ++t) {
      ASSERT_TRUE(std::isfinite(whole[t])) << entering << ", step " << t;
      ASSERT_NEAR(parts[t], whole[t], 1e-4f * std::abs(whole[t])) << entering << ", step " << t;
    }
  }
}

}  // namespace
