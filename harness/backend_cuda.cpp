// The current CUDA device, or the reason why there is none.
#include "harness/backend_cuda.h"

#include <fmt/format.h>

#include "harness/error.h"

#ifdef LRNNX_WITH_CUDA

#include <cuda_runtime_api.h>

#include <algorithm>
#include <array>
#include <memory>
#include <vector>

#include "harness/output.h"

namespace lrnnx::bench {
namespace {

void require_success(cudaError_t error, const std::string& call) {
  if (error != cudaSuccess) throw SystemError(fmt::format("{}: {}", call, cudaGetErrorString(error)));
}

void release(void* data) {
  // Called from destructors, which must not throw; the failure that broke the device is thrown elsewhere.
  if (const cudaError_t error = cudaFree(data); error != cudaSuccess && error != cudaErrorCudartUnloading) {
    write_stderr(fmt::format("cudaFree: {}\n", cudaGetErrorString(error)));
  }
}

// Waits, however a scope is left, for what was queued in it: it uses memory that may then be freed.
class Settled {
 public:
  explicit Settled(cudaStream_t stream) : stream_(stream) {}
  ~Settled() { cudaStreamSynchronize(stream_); }
  Settled(const Settled&) = delete;
  Settled& operator=(const Settled&) = delete;

 private:
  cudaStream_t stream_;
};

// Host memory that copies pass through: pinned, or of the ordinary kind where no more can be.
class Staging {
 public:
  explicit Staging(int64_t bytes) {
    cudaEvent_t event = nullptr;
    require_success(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreateWithFlags");
    copied_.reset(event);
    void* memory = nullptr;
    if (cudaMallocHost(&memory, static_cast<size_t>(bytes)) == cudaSuccess) {
      pinned_.reset(static_cast<unsigned char*>(memory));
    } else {
      cudaGetLastError();  // else the next launch reports it
      pageable_.resize(static_cast<size_t>(bytes));
    }
  }
  unsigned char* memory() { return pinned_ ? pinned_.get() : pageable_.data(); }
  void record(cudaStream_t stream) { require_success(cudaEventRecord(copied_.get(), stream), "cudaEventRecord"); }
  void wait() { require_success(cudaEventSynchronize(copied_.get()), "cudaEventSynchronize"); }

 private:
  struct Free {
    void operator()(unsigned char* memory) const { cudaFreeHost(memory); }
    void operator()(cudaEvent_t event) const { cudaEventDestroy(event); }
  };
  std::unique_ptr<CUevent_st, Free> copied_;
  std::unique_ptr<unsigned char, Free> pinned_;
  std::vector<unsigned char> pageable_;
};

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
    require_success(cudaGetDevice(&device), "cudaGetDevice");
    cudaDeviceProp properties{};
    require_success(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
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

  // While one part is on its way, the next one is written or the one before is read.
  void copy_in(void* destination, int64_t bytes, const WritePart& write) override {
    const Settled settled(cuda_stream());
    for (int64_t offset = 0, turn = 0; offset < bytes; offset += kPart, turn = 1 - turn) {
      Staging& staging = ready_staging(turn);
      const int64_t count = std::min(kPart, bytes - offset);
      write(staging.memory(), offset, count);
      copy(static_cast<char*>(destination) + offset, staging.memory(), count, cudaMemcpyHostToDevice);
      staging.record(cuda_stream());
    }
    synchronize();
  }
  void copy_out(const void* source, int64_t bytes, const ReadPart& read) override {
    const Settled settled(cuda_stream());
    const auto fetch = [&](int64_t offset, int64_t turn) {
      if (offset >= bytes) return;
      Staging& staging = ready_staging(turn);
      copy(staging.memory(), static_cast<const char*>(source) + offset, std::min(kPart, bytes - offset),
           cudaMemcpyDeviceToHost);
      staging.record(cuda_stream());
    };
    fetch(0, 0);
    for (int64_t offset = 0, turn = 0; offset < bytes; offset += kPart, turn = 1 - turn) {
      fetch(offset + kPart, 1 - turn);
      read(ready_staging(turn).memory(), offset, std::min(kPart, bytes - offset));
    }
  }
  void fill_bytes(void* destination, unsigned char value, int64_t bytes) override {
    require_success(cudaMemsetAsync(destination, value, static_cast<size_t>(bytes), cuda_stream()), "cudaMemsetAsync");
  }
  void synchronize() override { require_success(cudaStreamSynchronize(cuda_stream()), "cudaStreamSynchronize"); }
  void* stream() override { return cuda_stream(); }

 private:
  cudaStream_t cuda_stream() {
    if (stream_) return stream_;
    const cudaError_t error = cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking);
    if (error == cudaErrorDevicesUnavailable)
      unavailable_ = fmt::format("no CUDA device for this process (compute mode?): {}", cudaGetErrorString(error));
    require_success(error, "cudaStreamCreateWithFlags");
    return stream_;
  }

  void copy(void* destination, const void* source, int64_t bytes, cudaMemcpyKind kind) {
    require_success(cudaMemcpyAsync(destination, source, static_cast<size_t>(bytes), kind, cuda_stream()),
                    "cudaMemcpyAsync");
  }

  // Once the copy that used it last is done.
  Staging& ready_staging(int64_t turn) {
    std::optional<Staging>& staging = staging_[static_cast<size_t>(turn)];
    if (!staging) staging.emplace(kPart);
    staging->wait();
    return *staging;
  }

  static constexpr int64_t kPart = int64_t{16} << 20;  // large against the latency of a copy
  std::optional<std::string> unavailable_;
  int count_ = 0;
  cudaStream_t stream_ = nullptr;
  std::array<std::optional<Staging>, 2> staging_;
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
  void copy_in(void*, int64_t, const WritePart&) override { refuse(); }
  void copy_out(const void*, int64_t, const ReadPart&) override { refuse(); }
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
