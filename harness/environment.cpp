// Asks the build, the CUDA runtime, the processor and the operating system who they are.
#include "harness/environment.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <omp.h>
#include <sched.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <fstream>
#include <iterator>
#include <string_view>
#include <vector>

#include "harness/backend.h"
#include "harness/build_info.h"
#include "harness/cpu_cache.h"
#include "harness/files.h"
#include "harness/fill_element.h"
#include "lrnnx/lrnnx.h"

#ifdef LRNNX_WITH_CUDA
#include <cuda_runtime_api.h>

#include "harness/cuda_check.h"
#endif

namespace lrnnx::bench {
namespace {

using Json = nlohmann::ordered_json;

Json text_or_null(std::string_view text) { return text.empty() ? Json(nullptr) : Json(text); }

// The value of the first "key<separator>value" line of a file, without blanks and quotes around it.
std::string value_of_line(const char* path, std::string_view key, char separator) {
  const auto trimmed = [](std::string_view text) {
    const size_t begin = text.find_first_not_of(" \t\"");
    return begin == text.npos ? std::string_view() : text.substr(begin, text.find_last_not_of(" \t\"") + 1 - begin);
  };
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    const size_t at = line.find(separator);
    if (at != line.npos && trimmed(std::string_view(line).substr(0, at)) == key)
      return std::string(trimmed(std::string_view(line).substr(at + 1)));
  }
  return "";
}

Json program() {
#ifdef __clang__
  const std::string compiler = __VERSION__;
#else
  const std::string compiler = "GCC " __VERSION__;
#endif
  return {
      {"version", kVersion},
      {"commit", text_or_null(kGitCommit)},
      {"dirty", *kGitCommit ? Json(kGitDirty) : Json(nullptr)},
      {"hash", fmt::format("{:016x}", hash_text(read_file("/proc/self/exe")))},  // two builds of one commit may differ
      {"abi", lrnnx_abi_version()},
      {"build_type", kBuildType},
      {"compiler", compiler},
      {"cuda_compiler", text_or_null(kCudaCompiler)},
      {"cuda_architectures", *kCudaCompiler ? text_or_null(kCudaArchitectures) : Json(nullptr)}};
}

#ifdef LRNNX_WITH_CUDA

// The CUDA runtime only knows which CUDA version the driver supports; the driver's own version is NVML's to tell.
std::string driver_version() {
  struct Library {
    void* handle = dlopen("libnvidia-ml.so.1", RTLD_LAZY | RTLD_LOCAL);
    ~Library() {
      if (handle) dlclose(handle);
    }
  } library;
  if (!library.handle) return "";
  const auto init = reinterpret_cast<int (*)()>(dlsym(library.handle, "nvmlInit_v2"));
  const auto version = reinterpret_cast<int (*)(char*, unsigned)>(dlsym(library.handle, "nvmlSystemGetDriverVersion"));
  const auto shutdown = reinterpret_cast<int (*)()>(dlsym(library.handle, "nvmlShutdown"));
  if (!init || !version || !shutdown || init() != 0) return "";
  char text[96] = "";
  if (version(text, sizeof text) != 0) text[0] = '\0';
  shutdown();
  return text;
}

std::string cuda_version(int number) { return fmt::format("{}.{}", number / 1000, number % 1000 / 10); }

Json gpu() {
  if (backend("cuda").unavailable()) return nullptr;
  int device = 0;
  int runtime = 0;
  int driver = 0;
  cudaDeviceProp properties{};
  LRNNX_CUDA_CHECK(cudaGetDevice(&device));
  LRNNX_CUDA_CHECK(cudaGetDeviceProperties(&properties, device));
  LRNNX_CUDA_CHECK(cudaRuntimeGetVersion(&runtime));
  LRNNX_CUDA_CHECK(cudaDriverGetVersion(&driver));
  const auto attribute = [device](cudaDeviceAttr which) {
    int value = 0;
    LRNNX_CUDA_CHECK(cudaDeviceGetAttribute(&value, which, device));
    return value;
  };
  return {{"name", properties.name},
          {"compute_capability", fmt::format("{}.{}", properties.major, properties.minor)},
          {"driver", text_or_null(driver_version())},
          {"driver_cuda", cuda_version(driver)},
          {"runtime_cuda", cuda_version(runtime)},
          {"sm_count", properties.multiProcessorCount},
          {"memory_mib", properties.totalGlobalMem >> 20},
          {"l2_kib", properties.l2CacheSize >> 10},
          {"shared_memory_per_sm_kib", properties.sharedMemPerMultiprocessor >> 10},
          {"max_sm_clock_mhz", attribute(cudaDevAttrClockRate) / 1000},
          {"max_memory_clock_mhz", attribute(cudaDevAttrMemoryClockRate) / 1000},
          {"memory_bus_bits", attribute(cudaDevAttrGlobalMemoryBusWidth)},
          {"ecc", attribute(cudaDevAttrEccEnabled) != 0}};
}

#else

Json gpu() { return nullptr; }

#endif

Json cpu() {
  cpu_set_t usable;
  CPU_ZERO(&usable);
  const int processors = sched_getaffinity(0, sizeof usable, &usable) == 0 ? CPU_COUNT(&usable) : omp_get_num_procs();
  const int64_t cache = last_level_cache_bytes();
  return {{"name", text_or_null(value_of_line("/proc/cpuinfo", "model name", ':'))},
          {"usable_processors", processors},
          {"threads", omp_get_max_threads()},
          {"last_level_cache_kib", cache > 0 ? Json(cache >> 10) : Json(nullptr)},
          {"memory_mib", (static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE)) >> 20}};
}

Json system_facts() {
  utsname kernel{};
  uname(&kernel);
  return {{"os", text_or_null(value_of_line("/etc/os-release", "PRETTY_NAME", '='))},
          {"kernel", fmt::format("{} {} {}", kernel.sysname, kernel.release, kernel.machine)}};
}

// What the process was started with, quoted so that a shell reads it back. Of absolute paths the last part: where
// someone's files lie does not belong into results.
std::string command_line() {
  constexpr std::string_view kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=./,:@%^";
  std::string line;
  for (const std::string& whole : command_words()) {
    std::string_view word = whole;
    if (word.starts_with('/')) word.remove_prefix(word.rfind('/') + 1);
    if (!line.empty()) line += ' ';
    if (!word.empty() && word.find_first_not_of(kPlain) == word.npos) {
      line += word;
    } else {
      line += '\'';
      for (const char c : word) c == '\'' ? line += "'\\''" : line += c;
      line += '\'';
    }
  }
  return line;
}

Json run() {
  const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  std::tm utc{};
  gmtime_r(&now, &utc);
  char date[32] = "";
  std::strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", &utc);
  return {{"date", date}, {"command", command_line()}};
}

}  // namespace

std::vector<std::string> command_words() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  std::vector<std::string> words;
  for (std::string word; std::getline(file, word, '\0');) words.push_back(word);
  return words;
}

nlohmann::ordered_json environment() {
  return {{"program", program()}, {"gpu", gpu()}, {"cpu", cpu()}, {"system", system_facts()}, {"run", run()}};
}

std::string facts_text(const nlohmann::ordered_json& sections) {
  const auto value_text = [](const Json& value) {
    if (value.is_string()) return value.get<std::string>();
    return value.is_null() ? std::string("unknown") : value.dump();
  };
  std::string text;
  for (const auto& [section, facts] : sections.items()) {
    if (facts.is_null()) {
      text += fmt::format("{:<30}none\n", section);
      continue;
    }
    for (const auto& [key, value] : facts.items())
      text += fmt::format("{:<30}{}\n", fmt::format("{}.{}", section, key), value_text(value));
  }
  return text;
}

}  // namespace lrnnx::bench
