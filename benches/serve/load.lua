-- For wrk: sends the requests in the files of its arguments, one after another, and reports as one line of JSON.

local requests, at = {}, 0

function init(files)
  for index = 1, #files do
    local file = assert(io.open(files[index], "rb"))
    requests[index] = file:read("*a")
    file:close()
  end
end

function request()
  at = at % #requests + 1
  return requests[at]
end

function done(summary, latency)
  local lost = summary.errors
  io.write(string.format(
    '{"per_s": %.3f, "p50_ms": %.3f, "p99_ms": %.3f, "errors": %d}\n',
    (summary.requests - lost.status) / summary.duration * 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    lost.connect + lost.read + lost.write + lost.status + lost.timeout
  ))
end
