-- For wrk: sends each request of a file once, whole messages as bytes, each behind its length in eight digits. Prints how many were
-- answered, how many of them were refused or failed, in how many microseconds, and whether the file was too short.
local requests, sent, short = {}, 0, false

function init(args)
  local file = assert(io.open(args[1], "rb"))
  while true do
    local length = file:read(8)
    if length == nil then break end
    requests[#requests + 1] = file:read(tonumber(length))
  end
  file:close()
end

function request()
  sent = sent + 1
  -- Said again, it is refused, and counted as such.
  return requests[math.min(sent, #requests)]
end

function done(summary)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.timeout
  io.write(string.format('{"answered":%d,"refused":%d,"failed":%d,"microseconds":%d}\n',
    summary.requests, errors.status, failed, summary.duration))
end
