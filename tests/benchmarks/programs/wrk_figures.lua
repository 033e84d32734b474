-- What `wrk -s` runs: sends PIPELINE requests at a time, and prints the figures as one line of JSON.
-- Lua, as wrk has no other way to pipeline, or to print what a program can read.
local depth = tonumber(os.getenv("WRK_PIPELINE") or "1")
local batch

function init(args)
   local requests = {}
   for number = 1, depth do
      requests[number] = wrk.format("GET", "/")
   end
   batch = table.concat(requests)
end

function request()
   return batch
end

function done(summary, latency, requests)
   local errors = summary.errors
   print(string.format(
      '{"messages": %d, "seconds": %.6f, "p50_us": %d, "p99_us": %d, "failures": %d}',
      summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
      errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
