-- kinesis.openresty in two workers: puts in every phase, one page of counters, and workers that come and go.
-- Flavours: *lua5.4
local fresh = require "support.fresh"

local server, master = os.getenv "NGINX_WORKERS", os.getenv "NGINX_WORKERS_PID"
local direct, stream

local function escape(text)
  return (text:gsub("[^%w%-]", function(c)
    return ("%%%02X"):format(c:byte())
  end))
end

-- Asks nginx over a connection of its own, so that both workers have their turns. Gives the status and the body.
local function ask(path, query)
  local words = {}
  for name, value in pairs(query or {}) do
    words[#words + 1] = name .. "=" .. escape(value)
  end
  local url = ("%s%s?%s"):format(server, path, table.concat(words, "&"))
  local output = fresh.spawn(("curl -s -m 20 -w '\\n%%{http_code}' '%s'"):format(url)):wait()
  local body, status = output:match "^(.*)\n(%d+)$"
  return tonumber(status), body
end

local function notes(name)
  local _, body = ask("/notes", { name = name })
  return require("cjson").decode(body).list
end

local function workers()
  return fresh.children(master)
end

local function reload()
  local old = workers()
  assert.equal("", (fresh.spawn("kill -HUP " .. master):wait()))
  return old
end

local function await_leaving(old)
  fresh.eventually(function()
    for pid in pairs(workers()) do
      if old[pid] then
        return false
      end
    end
    return next(workers())
  end)
end

local function stored()
  local found = {}
  for _, record in ipairs(fresh.read(direct, stream)) do
    assert.is_nil(found[record.data], "twice: " .. record.data)
    found[record.data] = true
  end
  return found
end

local function read_log()
  local file = assert(io.open(os.getenv "RUN_DIR" .. "/nginx-workers/error.log"))
  local log = file:read "*a"
  file:close()
  return log
end

setup(function()
  direct = fresh.client(os.getenv "KINESALITE")
end)

before_each(function()
  stream = fresh.stream(direct, 2, "workers")
end)

after_each(function()
  direct:call("DeleteStream", { StreamName = stream })
end)

teardown(function()
  direct:close()
end)

describe("kinesis.openresty", function()
  it("puts in the log phase and in a filter, where nothing may wait", function()
    for i = 1, 4 do
      assert.equal(200, (ask("/logged", { stream = stream, data = "request " .. i })))
    end
    fresh.eventually(function()
      local found = stored()
      for i = 1, 4 do
        if not (found["in the log phase of request " .. i] and found["in the header filter of request " .. i]) then
          return false
        end
      end
      return true
    end)
  end)

  it("calls on_failure while no call waits", function()
    assert.equal(200, (ask("/logged", { stream = "absent", data = "nothing" })))
    fresh.eventually(function()
      return #notes "failures" >= 2
    end)
    assert.matches("of nothing: ResourceNotFoundException$", notes("failures")[1])
  end)

  it("says Full at once when there is no room", function()
    local status, body
    for i = 1, 50 do
      status, body = ask("/click", { stream = "small", data = "record " .. i, key = "key" })
    end
    assert.equal(503, status)
    assert.matches('"err":"Full"', body, 1, true)
  end)

  it("shows the counters of all workers in one page", function()
    local pids, count, name = {}, 0, stream:gsub("%-", "%%-")
    fresh.eventually(function()
      local status, body = ask("/click", { stream = stream, data = "record", key = "key" })
      assert.equal(200, status)
      pids[body:match '"pid":(%d+)'] = true
      count = count + 1
      return next(pids, next(pids))
    end)
    local page = fresh.eventually(function()
      local status, body = ask "/metrics"
      assert.equal(200, status)
      local sum = 0
      for value in body:gmatch('kinesis_producer_stored_records_total{stream="' .. name .. '",worker="%d"} (%d+)') do
        sum = sum + tonumber(value)
      end
      return sum == count and body
    end)
    assert.matches('kinesis_client_calls_total{endpoint="[^"]*",worker="0"}', page)
    assert.matches('kinesis_client_calls_total{endpoint="[^"]*",worker="1"}', page)
    assert.equal(1, select(2, page:gsub("# TYPE kinesis_producer_stored_records_total", "")))
    assert.matches('kinesis_producer_latency_seconds_bucket{stream="' .. name .. '",worker="%d",le="%+Inf"}', page)
  end)

  it("refuses wrong options and a second setup at the caller's line, and leaves what was set up", function()
    local _, body = ask "/setup"
    local problems = require("cjson").decode(body).problems
    for i, problem in ipairs {
      "unknown option 'producer' of setup; did you mean 'producers'?",
      "unknown option 'regio' of client; did you mean 'region'?",
      "setup: metrics must be the name of a lua_shared_dict, and there is no 'nowhere'",
      "setup: this worker has its client already; call setup once, in init_worker_by_lua, before all others",
      "setup: workers[1] must be a table {streams=, application=, handler=, options=}",
      "worker: application must be a name of at most 100 letters, digits, '_', '.' and '-', the first one no '.', got "
        .. "'a/b'",
      "unknown option 'form' of worker; did you mean 'from'?",
      "setup: two workers have the application 'a'; one worker takes a list of streams",
    } do
      assert.matches("workers_app.lua:%d+: ", problems[i])
      assert.equal(problem, problems[i]:match ":%d+: (.*)$")
    end
    assert.equal(200, (ask("/click", { stream = stream, data = "afterwards", key = "key" })))
  end)

  it("lets an uncaught error say code and advice in nginx's log", function()
    assert.equal(500, (ask "/raise"))
    local log = read_log()
    assert.matches("lua entry thread aborted: runtime error: content_by_lua%(nginx.conf:%d+%):%d+: "
      .. "ListShards: ResourceNotFoundException: [^\n]*; does the stream exist", log)
    assert.is_nil(log:find("unknown reason", 1, true))
    assert.is_nil(log:find("timed out", 1, true)) -- of pumps that have nothing to do
  end)
end)

describe("a reload", function()
  it("loses nothing that was accepted, and ends readers and workers", function()
    for i = 1, 4 do
      assert.equal(200, (ask("/read", { stream = stream, data = tostring(i) })))
    end
    local old, clicked = workers(), 0
    local visitor = fresh.spawn(([[for i in $(seq 400); do
      curl -s -m 20 -o /dev/null -w '%%{http_code}\n' "%s/click?stream=%s&data=record-$i&key=$i"; done]]):format(
      server, stream))
    for _ = 1, 400 do
      assert.equal("200", visitor:line())
      clicked = clicked + 1
      if clicked % 100 == 50 then
        reload()
      end
    end
    visitor:wait()
    await_leaving(old)
    fresh.eventually(function()
      local found = stored()
      for i = 1, 400 do
        if not found["record-" .. i] then
          return false
        end
      end
      return true
    end)
    assert.equal(4, #notes "ended")
  end)

  it("is not delayed by a coroutine that was killed while it waited, nor by a closed connection", function()
    for _ = 1, 4 do
      assert.equal(200, (ask("/kill", { stream = stream })))
      fresh.spawn(("curl -s -m 0.3 '%s/wait?stream=%s'"):format(server, stream)):wait()
    end
    assert.equal(200, (ask("/click", { stream = stream, data = "before", key = "key" })))
    await_leaving(reload())
    assert.equal(200, (ask("/click", { stream = stream, data = "afterwards", key = "key" })))
    assert.is_nil(read_log():find("trying again", 1, true)) -- nor does it disturb the pump
  end)
end)
