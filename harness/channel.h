// Lines of text between two processes, over one end of a socket pair.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace lrnnx::bench {

class Channel {
 public:
  using Clock = std::chrono::steady_clock;

  explicit Channel(int socket) : socket_(socket) {}  // owned from here on
  ~Channel();
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  // Without its newline. False if the other side is gone.
  bool send(std::string_view line);

  enum class Event { line, closed, expired, interrupted };  // interrupted: by a signal that was handled
  // A line, if that is the event, is in `line`.
  Event receive(std::string& line, std::optional<Clock::time_point> deadline = {});

 private:
  int socket_;
  std::string buffer_;
};

}  // namespace lrnnx::bench
