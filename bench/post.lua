-- What wrk sends to the Api: one body again and again. BODY (a file) and KEY come by the
-- environment; what it counted goes to standard error as one JSON object.
local file = assert(io.open(os.getenv("BODY"), "rb"))

wrk.method = "POST"
wrk.body = file:read("*a")
wrk.headers["authorization"] = "Bearer " .. os.getenv("KEY")
wrk.headers["content-type"] = "application/json"

function done(summary, latency)
   local errors = summary.errors
   io.stderr:write(string.format(
      '{"answers": %d, "refused": %d, "broken": %d, "seconds": %f, "p50_ms": %f, "p99_ms": %f}\n',
      summary.requests, errors.status, errors.connect + errors.read + errors.write + errors.timeout,
      summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
