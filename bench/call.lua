-- wrk script: POST /call of get_item with a random id. Used by bench/calls, bench/memory, bench/soak and bench/tenants, which set
-- PLATFORM and MAX_ID, and for tenants chosen at random FIRST and LAST (of t1, t2, …).
-- Prints one line: RESULT ok_rps=… p50_us=… p99_us=… not_ok=… broken=…; ok_rps counts only answers with a status of success.

local platform = os.getenv("PLATFORM")
local max_id = tonumber(os.getenv("MAX_ID"))
local first, last = tonumber(os.getenv("FIRST")), tonumber(os.getenv("LAST"))

-- Requests are made before the clock starts: building them would cost the cores that the server is measured on.
local PREPARED = 4096
local requests, sent, threads = {}, 0, 0

function setup(thread)
  threads = threads + 1
  thread:set("number", threads)
end

function init(args)
  math.randomseed(number)
  for i = 1, PREPARED do
    local tenant = first and string.format('"tenant_id":"t%d",', math.random(first, last)) or ""
    local body = string.format('{"platform":"%s",%s"function":"get_item","params":[%d]}', platform, tenant, math.random(1, max_id))
    requests[i] = wrk.format("POST", "/call", { ["Content-Type"] = "application/json" }, body)
  end
end

function request()
  sent = sent + 1
  return requests[sent % PREPARED + 1]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format("RESULT ok_rps=%.1f p50_us=%d p99_us=%d not_ok=%d broken=%d\n",
    (summary.requests - errors.status) / (summary.duration / 1e6), latency:percentile(50), latency:percentile(99),
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
