// Lines of text between two processes.
#include "harness/channel.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace lrnnx::bench {

Channel::~Channel() { ::close(socket_); }

bool Channel::send(std::string_view line) {
  std::string text(line);
  text += '\n';
  for (std::string_view rest = text; !rest.empty();) {
    const ssize_t sent = ::send(socket_, rest.data(), rest.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return false;
    rest.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

Channel::Event Channel::receive(std::string& line, std::optional<Clock::time_point> deadline) {
  while (true) {
    if (const size_t end = buffer_.find('\n'); end != std::string::npos) {
      line = buffer_.substr(0, end);
      buffer_.erase(0, end + 1);
      return Event::line;
    }
    int timeout_ms = -1;
    if (deadline) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(*deadline - Clock::now()).count();
      if (left <= 0) return Event::expired;
      timeout_ms = static_cast<int>(std::min<decltype(left)>(left, 1'000'000));
    }
    pollfd polled{.fd = socket_, .events = POLLIN, .revents = 0};
    const int ready = ::poll(&polled, 1, timeout_ms);
    if (ready < 0 && errno == EINTR) return Event::interrupted;
    if (ready <= 0) continue;
    char bytes[1 << 16];
    const ssize_t received = ::recv(socket_, bytes, sizeof bytes, 0);
    if (received < 0 && errno == EINTR) return Event::interrupted;
    if (received <= 0) return Event::closed;
    buffer_.append(bytes, static_cast<size_t>(received));
  }
}

}  // namespace lrnnx::bench
