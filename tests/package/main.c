/* Does what was installed link, and is it of the version that its header says? */
#include <lrnnx/lrnnx.h>
#include <stdio.h>

int main(void) {
  lrnnx_memory memory;
  if (lrnnx_abi_version() != LRNNX_ABI_VERSION) return 1;
  if (lrnnx_selective_scan_memory(NULL, LRNNX_FORWARD, &memory) != LRNNX_INVALID_ARGUMENT) return 2;
  puts(lrnnx_last_error());
  return 0;
}
