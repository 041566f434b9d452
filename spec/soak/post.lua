-- For wrk.
wrk.method = "POST"
wrk.body = '{"event":"click"}'

local PAUSE = 32 -- milliseconds of a connection between two clicks: 64 of them make 2,000 a second

function delay()
  return PAUSE
end
