// Not an implementation of the C ABI, but what a profiler injects into NVTX: notes every range that the program opens
// and closes, a line each, in the file that LRNNX_NVTX_TRACE names.
#include <nvtx3/nvToolsExt.h>

#include <cstdio>
#include <cstdlib>
#include <string>

namespace {

void note(const std::string& line) {
  static std::FILE* const file = std::fopen(std::getenv("LRNNX_NVTX_TRACE"), "a");
  if (!file) return;
  std::fputs((line + '\n').c_str(), file);
  std::fflush(file);  // the process may end without a word
}

nvtxDomainHandle_t create_domain(const char* name) {
  return reinterpret_cast<nvtxDomainHandle_t>(new std::string(name));  // as long as the process
}

int push(nvtxDomainHandle_t domain, const nvtxEventAttributes_t* event) {
  const bool is_text = event->messageType == NVTX_MESSAGE_TYPE_ASCII;
  note("push " + *reinterpret_cast<const std::string*>(domain) + ' ' + (is_text ? event->message.ascii : "?"));
  return 0;
}

int pop(nvtxDomainHandle_t) {
  note("pop");
  return 0;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) int InitializeInjectionNvtx2(
    NvtxGetExportTableFunc_t get_export_table) {
  const auto* tables = static_cast<const NvtxExportTableCallbacks*>(get_export_table(NVTX_ETID_CALLBACKS));
  NvtxFunctionTable functions = nullptr;
  unsigned int size = 0;
  if (!tables || !tables->GetModuleFunctionTable(NVTX_CB_MODULE_CORE2, &functions, &size)) return 0;
  *functions[NVTX_CBID_CORE2_DomainCreateA] = reinterpret_cast<NvtxFunctionPointer>(create_domain);
  *functions[NVTX_CBID_CORE2_DomainRangePushEx] = reinterpret_cast<NvtxFunctionPointer>(push);
  *functions[NVTX_CBID_CORE2_DomainRangePop] = reinterpret_cast<NvtxFunctionPointer>(pop);
  return 1;
}
