// The current CUDA device, or the reason why there is none.
#include "harness/backend_cuda.h"

#include <fmt/format.h>

#include "harness/error.h"

#ifdef LRNNX_WITH_CUDA

#include <cuda_runtime_api.h>

#include "harness/output.h"

namespace lrnnx::bench {
namespace {

void require(cudaError_t error, const std::string& call) {
  if (error != cudaSuccess) throw SystemError(fmt::format("{}: {}", call, cudaGetErrorString(error)));
}

void release(void* data) {
  // Called from destructors, which must not throw; the failure that broke the device is thrown elsewhere.
  if (const cudaError_t error = cudaFree(data); error != cudaSuccess && error != cudaErrorCudartUnloading) {
    write_stderr(fmt::format("cudaFree: {}\n", cudaGetErrorString(error)));
  }
}

class CudaBackend final : public Backend {
 public:
  CudaBackend() {
    if (const cudaError_t error = cudaGetDeviceCount(&count_); error != cudaSuccess) {
      count_ = 0;
      unavailable_ = fmt::format("no CUDA device (cudaGetDeviceCount: {})", cudaGetErrorString(error));
      cudaGetLastError();  // else the next launch reports it
    } else if (count_ == 0) {
      unavailable_ = "no CUDA device";
    }
  }
  ~CudaBackend() override {
    if (stream_) cudaStreamDestroy(stream_);  // at exit: nobody is left to tell
  }

  std::string_view name() const override { return "cuda"; }
  std::optional<std::string> unavailable() const override { return unavailable_; }
  int64_t device_count() const override { return count_; }

  std::string device_name() const override {
    int device = 0;
    require(cudaGetDevice(&device), "cudaGetDevice");
    cudaDeviceProp properties{};
    require(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
    return properties.name;
  }

  Buffer allocate(int64_t bytes) override {
    void* data = nullptr;
    if (const cudaError_t error = cudaMalloc(&data, static_cast<size_t>(bytes)); error != cudaSuccess) {
      cudaGetLastError();  // running out of memory is not sticky: the next problem may fit
      const std::string message = fmt::format("cudaMalloc of {} bytes: {}", bytes, cudaGetErrorString(error));
      if (error == cudaErrorMemoryAllocation) throw OutOfMemory(message);
      throw SystemError(message);
    }
    return Buffer(data, bytes, release);
  }

  void copy_in(void* destination, const void* host, int64_t bytes) override {
    copy(destination, host, bytes, cudaMemcpyHostToDevice);
  }
  void copy_out(void* host, const void* source, int64_t bytes) override {
    copy(host, source, bytes, cudaMemcpyDeviceToHost);
  }
  void fill_bytes(void* destination, unsigned char value, int64_t bytes) override {
    require(cudaMemsetAsync(destination, value, static_cast<size_t>(bytes), cuda_stream()), "cudaMemsetAsync");
  }
  void synchronize() override { require(cudaStreamSynchronize(cuda_stream()), "cudaStreamSynchronize"); }
  void* stream() override { return cuda_stream(); }

 private:
  cudaStream_t cuda_stream() {
    if (!stream_) require(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
    return stream_;
  }

  void copy(void* destination, const void* source, int64_t bytes, cudaMemcpyKind kind) {
    require(cudaMemcpyAsync(destination, source, static_cast<size_t>(bytes), kind, cuda_stream()), "cudaMemcpyAsync");
    synchronize();
  }

  std::optional<std::string> unavailable_;
  int count_ = 0;
  cudaStream_t stream_ = nullptr;
};

}  // namespace

std::unique_ptr<Backend> make_cuda_backend() { return std::make_unique<CudaBackend>(); }

}  // namespace lrnnx::bench

#else

namespace lrnnx::bench {
namespace {

class CudaBackend final : public Backend {
 public:
  std::string_view name() const override { return "cuda"; }
  std::optional<std::string> unavailable() const override { return "no CUDA device (this build has no CUDA backend)"; }
  int64_t device_count() const override { return 0; }
  std::string device_name() const override { refuse(); }
  Buffer allocate(int64_t) override { refuse(); }
  void copy_in(void*, const void*, int64_t) override { refuse(); }
  void copy_out(void*, const void*, int64_t) override { refuse(); }
  void fill_bytes(void*, unsigned char, int64_t) override { refuse(); }
  void synchronize() override { refuse(); }
  void* stream() override { refuse(); }

 private:
  [[noreturn]] void refuse() const { throw SystemError(*unavailable()); }
};

}  // namespace

std::unique_ptr<Backend> make_cuda_backend() { return std::make_unique<CudaBackend>(); }

}  // namespace lrnnx::bench

#endif
