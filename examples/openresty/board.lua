-- The live page: one worker reads the stream and counts the events of the last minute in a shared dictionary; every
-- visitor gets the counts once a second, as server-sent events.
local cjson = require "cjson.safe"
local clicks = require "clicks"
local host = require "kinesis.openresty"

local M = {}

local board = ngx.shared.board
local WINDOW = 60 -- seconds
local MOST_NAMES = 100 -- of events; all others are counted as "other", so that visitors cannot fill the dictionary
local MOST_SHOWN = 20 -- events, or shards, on the page
local HANDOVER = 5 -- seconds for the reader of the old worker to end

-- ---- counting ----

local function count(kind, name, second)
  board:incr(("%s\t%s\t%d"):format(kind, name, second), 1, 0, WINDOW + 5)
end

local names, known, swept = {}, 0, 0 -- event -> its last second; how many there are; the second of the last sweep

-- Always counts this event under its own name.
function M.keep(event)
  names[event] = math.huge
end

local function sweep(second)
  for name, last in pairs(names) do
    if last < second - WINDOW then
      names[name], known = nil, known - 1
    end
  end
  swept = second
end

local function name_of(event, second)
  if not names[event] then
    if known >= MOST_NAMES and swept ~= second then
      sweep(second)
    end
    if known >= MOST_NAMES then
      return "other"
    end
    known = known + 1
  end
  names[event] = math.max(second, names[event] or 0)
  return event
end

local function note(record)
  local second = math.floor(ngx.now())
  local decoded = cjson.decode(record.data)
  local event = type(decoded) == "table" and type(decoded.event) == "string" and decoded.event:sub(1, 40) or "?"
  count("all", "", second)
  count("event", name_of(event:gsub("%c", " "), second), second)
  count("shard", record.shard_id, second)
  board:set("lag", ngx.now() - record.arrival_timestamp)
end

-- The worker that reads stores its pid in the dictionary. After a reload the new worker waits until the reader of the
-- old one has ended, so that no record is counted twice; at most HANDOVER seconds, as the old worker may have been
-- killed.
local function await_turn()
  local last = ngx.now() + HANDOVER
  while not board:add("reader", ngx.worker.pid()) do
    if ngx.worker.exiting() then
      return false
    elseif ngx.now() > last then
      board:set("reader", ngx.worker.pid())
      break
    end
    ngx.sleep(0.05)
  end
  return true
end

-- Reads until the worker exits, and stores the position for the next worker.
local function read()
  local from = cjson.decode(board:get "position" or "") or "latest"
  local reader = host.client():shards(clicks.stream):records { from = from, batch = true, poll_interval = 0.5 }
  for records in reader do
    for _, record in ipairs(records) do
      note(record)
    end
    board:set("position", cjson.encode(reader:position()))
    if ngx.worker.exiting() then
      reader:stop()
    end
  end
  board:set("position", cjson.encode(reader:position()))
end

local function follow()
  if not await_turn() then
    return
  end
  local good, err = pcall(read)
  if board:get "reader" == ngx.worker.pid() then
    board:delete "reader"
  end
  if not good and not ngx.worker.exiting() then
    ngx.log(ngx.WARN, "reading again in 2 seconds: ", tostring(err))
    board:delete "position" -- it may be the position of a deleted stream
    ngx.timer.at(2, follow)
  end
end

function M.follow()
  if ngx.worker.id() == 0 then
    ngx.timer.at(0, follow)
  end
end

-- The count of an event in the last `seconds`, without the current second.
function M.count_of(event, seconds)
  local sum, now = 0, math.floor(ngx.now())
  for second = now - seconds, now - 1 do
    sum = sum + (board:get(("event\t%s\t%d"):format(event, second)) or 0)
  end
  return sum
end

-- ---- the page ----

local function sorted(counts)
  local list = {}
  for name, number in pairs(counts) do
    list[#list + 1] = { name = name, count = number }
  end
  table.sort(list, function(a, b)
    return a.count > b.count or a.count == b.count and a.name < b.name
  end)
  for i = #list, MOST_SHOWN + 1, -1 do
    list[i] = nil
  end
  return list
end

-- The counts of the minute before `now`, for the page.
local function counts_at(now)
  local seconds, events, shards = {}, {}, {}
  for i = 1, WINDOW do
    seconds[i] = 0
  end
  local sums = { event = events, shard = shards }
  for _, key in ipairs(board:get_keys(0)) do
    local kind, name, second = key:match "^(%a+)\t(.*)\t(%d+)$"
    local place = kind and tonumber(second) - (now - WINDOW) + 1
    if place and place >= 1 and place <= WINDOW then
      local number = board:get(key) or 0
      if kind == "all" then
        seconds[place] = number
      else
        sums[kind][name] = (sums[kind][name] or 0) + number
      end
    end
  end
  return {
    stream = clicks.stream, seconds = seconds, events = sorted(events), shards = sorted(shards), lag = board:get "lag",
  }
end

local seen = {} -- the latest counts, for all visitors of this worker

function M.live()
  ngx.header.content_type = "text/event-stream"
  ngx.header.cache_control = "no-store"
  ngx.header["X-Accel-Buffering"] = "no"
  while not ngx.worker.exiting() do -- the browser reconnects, to the next worker
    local now = math.floor(ngx.now())
    if seen.now ~= now then
      seen = { now = now, text = "data: " .. cjson.encode(counts_at(now)) .. "\n\n" }
    end
    if not (ngx.print(seen.text) and ngx.flush(true)) then
      return
    end
    ngx.sleep(1 - ngx.now() % 1 + 0.01)
    ngx.update_time()
  end
end

return M
