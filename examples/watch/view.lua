-- What there is to show at a moment, as numbers and texts: the picture and the plain line are made of it.
local load = require "watch.load"

local ENDED_FOR = 60 -- seconds that an ended shard stays
local TOLD_FOR = 10 -- seconds that a failure stays
local KEYS = 5
local MOST_TICKS = 60

local View = {}
View.__index = View

local M = {}

--- `load`, `keys`: of watch.load and watch.keys.
function M.new(stream, service, the_load, keys)
  return setmetatable({ stream = stream, service = service, load = the_load, keys = keys, shards = {}, throttled = 0 },
    View)
end

--- A failure of the reader, which goes on.
function View:fail(text, now)
  self.failure, self.failed_at = text, now
end

-- Whether a shard is shown, and whether it has ended: one that had ended before is not shown.
local function follow(self, id, stats, now)
  local known = self.shards[id]
  local has_ended = stats.state == "done"
  if not known then
    known = { was_open = not has_ended }
    self.shards[id] = known
  end
  known.ended_at = has_ended and (known.ended_at or now) or nil
  return known.was_open and not (has_ended and now - known.ended_at > ENDED_FOR), has_ended
end

-- The shards in order, and the number of open ones.
local function rows(self, stats, now, last, seconds)
  local list, open = {}, 0
  for id, shard in pairs(stats.shards) do
    local is_shown, has_ended = follow(self, id, shard, now)
    open = open + (has_ended and 0 or 1)
    if is_shown then
      local row = self.load:shard(id)
      local records, puts, bytes = row:mean(last, seconds)
      list[#list + 1] = { id = id, ended = has_ended, records = records, puts = puts, bytes = bytes,
        load = has_ended and 0 or load.load(records, puts, bytes),
        history = function(cells) return row:history(last, cells, load.load) end }
    end
  end
  table.sort(list, function(a, b) return a.id < b.id end)
  return list, open
end

local function notes(self, stats, now)
  local throttled = 0
  for _, shard in pairs(stats.shards) do
    throttled = throttled + shard.throttled
  end
  if throttled > self.throttled then
    self:fail("reading is throttled: other readers share the limits of the shards", now)
  end
  self.throttled = throttled
  return { self.failure and now - self.failed_at <= TOLD_FOR and self.failure or nil }
end

local function hottest(list)
  local found
  for _, row in ipairs(list) do
    if row.load > (found and found.load or 0) then
      found = row
    end
  end
  return found
end

-- Ages the keys by the seconds that have been read since, so that they stay while nothing can be read.
local function age_keys(self, last)
  self.last = self.last or last - 1
  for _ = self.last + 1, math.min(last, self.last + MOST_TICKS) do
    self.keys:tick()
  end
  self.last = math.max(self.last, last)
end

--- The view now, with what reader:stats() returned. To be called once a second.
function View:take(stats, now)
  local last, seconds = self.load:last(now, stats.lag)
  age_keys(self, last)
  local total, view = self.load.total, { stream = self.stream, service = self.service, lag = stats.lag }
  view.time, view.utc = os.date("%H:%M:%S", now), os.date("!%Y-%m-%dT%H:%M:%SZ", now)
  view.shards, view.open = rows(self, stats, now, last, seconds)
  view.records, view.puts, view.bytes = total:mean(last, seconds)
  view.record_history = function(cells) return total:history(last, cells, function(records) return records end) end
  view.byte_history = function(cells) return total:history(last, cells, function(_, _, bytes) return bytes end) end
  view.keys, view.notes, view.hottest = self.keys:top(KEYS), notes(self, stats, now), hottest(view.shards)
  for _, key in ipairs(view.keys) do
    key.load = key.rate / load.BYTES
  end
  return view
end

return M
