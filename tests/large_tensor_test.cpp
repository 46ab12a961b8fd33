// Tensors of more than 2^31 elements on the GPU: far apart, the same rows must give what they give close together.
#include <gtest/gtest.h>

#include "lrnnx/lrnnx.h"

#if defined(LRNNX_WITH_CUDA)
#include <cuda_runtime_api.h>

#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

namespace lrnnx::test::large_tensor_test {
namespace {

constexpr int64_t kBatch = 2, kDim = 3, kLength = 100, kStates = 4;
// Strides in elements. Both kinds of u and out have other strides than delta, so that the same kernels run.
constexpr int64_t kFarBatch = int64_t{1} << 31, kFarDim = int64_t{1} << 29;
constexpr int64_t kNearBatch = 512, kNearDim = 128;

class Buffer {
 public:
  explicit Buffer(int64_t floats) {
    if (cudaMalloc(&data_, static_cast<size_t>(floats) * 4) != cudaSuccess) {
      cudaGetLastError();
      data_ = nullptr;
    }
  }
  ~Buffer() { cudaFree(data_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  float* data() const { return static_cast<float*>(data_); }

 private:
  void* data_ = nullptr;
};

enum class Place { contiguous, near, far };

// A (B, D, L) tensor; of a far one, of more than 12 GB, only the rows are touched.
struct Rows {
  explicit Rows(Place place)
      : stride_batch(place == Place::far    ? kFarBatch
                     : place == Place::near ? kNearBatch
                                            : kDim * kLength),
        stride_dim(place == Place::far    ? kFarDim
                   : place == Place::near ? kNearDim
                                          : kLength),
        size((kBatch - 1) * stride_batch + (kDim - 1) * stride_dim + kLength),
        buffer(size) {}

  lrnnx_tensor view() const { return {buffer.data(), size, stride_batch, stride_dim}; }
  float* row(int64_t b, int64_t d) const { return buffer.data() + b * stride_batch + d * stride_dim; }
  void fill(const std::vector<float>& values) const {
    for (int64_t i = 0; i < kBatch * kDim; ++i)
      cudaMemcpy(row(i / kDim, i % kDim), values.data() + i * kLength, kLength * 4, cudaMemcpyHostToDevice);
  }
  std::vector<float> values() const {
    std::vector<float> result(kBatch * kDim * kLength);
    for (int64_t i = 0; i < kBatch * kDim; ++i)
      cudaMemcpy(result.data() + i * kLength, row(i / kDim, i % kDim), kLength * 4, cudaMemcpyDeviceToHost);
    return result;
  }

  int64_t stride_batch, stride_dim, size;
  Buffer buffer;
};

std::vector<float> random_numbers(int64_t count, float low, float high, unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(low, high);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = uniform(random);
  return values;
}

struct Small {
  explicit Small(const std::vector<float>& values) : buffer(static_cast<int64_t>(values.size())), count(values.size()) {
    cudaMemcpy(buffer.data(), values.data(), count * 4, cudaMemcpyHostToDevice);
  }
  lrnnx_tensor view() const { return {buffer.data(), static_cast<int64_t>(count), 0, 0}; }
  std::vector<float> values() const {
    std::vector<float> result(count);
    cudaMemcpy(result.data(), buffer.data(), count * 4, cudaMemcpyDeviceToHost);
    return result;
  }
  Buffer buffer;
  size_t count;
};

// Of a scan whose u and out, then u and du, lie at that place.
struct Outcome {
  std::vector<float> out, du, ddelta, dA;
};

Outcome run(Place place) {
  const lrnnx_selective_scan_problem problem = {
      .discretization = LRNNX_MAMBA,
      .dtype = LRNNX_F32,
      .backend = LRNNX_CUDA,
      .options = LRNNX_VARIABLE_B | LRNNX_VARIABLE_C | LRNNX_SAVE_FOR_BACKWARD,
      .batch = kBatch,
      .dim = kDim,
      .seqlen = kLength,
      .dstate = kStates,
      .groups = 1,
      .configuration = nullptr};
  const Rows u(place), result(place), delta(Place::contiguous), dout(Place::contiguous), ddelta(Place::contiguous);
  if (u.buffer.data() == nullptr || result.buffer.data() == nullptr) return {};
  const int64_t numbers = kBatch * kDim * kLength;
  u.fill(random_numbers(numbers, -1, 1, 1));
  delta.fill(random_numbers(numbers, 0.01f, 0.1f, 2));
  dout.fill(random_numbers(numbers, -1, 1, 3));
  const Small A(random_numbers(kDim * kStates, -4, -1, 4)), B(random_numbers(kBatch * kStates * kLength, -1, 1, 5)),
      C(random_numbers(kBatch * kStates * kLength, -1, 1, 6));
  const Small dA(std::vector<float>(kDim * kStates)), dB(std::vector<float>(kBatch * kStates * kLength)),
      dC(std::vector<float>(kBatch * kStates * kLength));
  lrnnx_memory memory{};
  EXPECT_EQ(lrnnx_selective_scan_memory(&problem, LRNNX_BACKWARD, &memory), LRNNX_OK) << lrnnx_last_error();
  const Buffer saved(memory.saved_bytes / 4 + 1), workspace(memory.workspace_bytes / 4 + 1);

  lrnnx_selective_scan_forward_args forward = {};
  forward.u = u.view(), forward.delta = delta.view(), forward.A = A.view(), forward.B = B.view();
  forward.C = C.view(), forward.out = result.view(), forward.saved = saved.data();
  forward.saved_bytes = memory.saved_bytes, forward.workspace = workspace.data();
  forward.workspace_bytes = memory.workspace_bytes;
  EXPECT_EQ(lrnnx_selective_scan_forward(&problem, &forward), LRNNX_OK) << lrnnx_last_error();
  Outcome outcome;
  outcome.out = result.values();

  lrnnx_selective_scan_backward_args backward = {};
  backward.u = u.view(), backward.delta = delta.view(), backward.A = A.view(), backward.B = B.view();
  backward.C = C.view(), backward.dout = dout.view(), backward.saved = saved.data();
  backward.saved_bytes = memory.saved_bytes, backward.workspace = workspace.data();
  backward.workspace_bytes = memory.workspace_bytes, backward.du = result.view(), backward.ddelta = ddelta.view();
  backward.dA = dA.view(), backward.dB = dB.view(), backward.dC = dC.view();
  EXPECT_EQ(lrnnx_selective_scan_backward(&problem, &backward), LRNNX_OK) << lrnnx_last_error();
  outcome.du = result.values(), outcome.ddelta = ddelta.values(), outcome.dA = dA.values();
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  return outcome;
}

TEST(LargeTensor, RowsFarBeyondTwoToThe31GiveWhatNearOnesGive) {
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) GTEST_SKIP() << "no CUDA device";
  const Outcome near = run(Place::near), far = run(Place::far);
  if (far.out.empty()) GTEST_SKIP() << "the device has no 25 GB to spare";
  EXPECT_EQ(near.out, far.out);
  EXPECT_EQ(near.du, far.du);
  EXPECT_EQ(near.ddelta, far.ddelta);
  EXPECT_EQ(near.dA, far.dA);
  EXPECT_NE(near.out, std::vector<float>(near.out.size()));
}

}  // namespace
}  // namespace lrnnx::test::large_tensor_test
#else
TEST(LargeTensor, RowsFarBeyondTwoToThe31GiveWhatNearOnesGive) {
  GTEST_SKIP() << "needs the CUDA backend, which this build is without";
}
#endif
