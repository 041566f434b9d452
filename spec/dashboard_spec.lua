-- The example for OpenResty as it stands, its settings apart: the endpoint, the alarm, and the page in a real browser.
-- Flavours: lua5.4
local cjson = require "cjson"
local fresh = require "support.fresh"

local ROOT, RUN_DIR = os.getenv "ROOT", os.getenv "RUN_DIR"

local direct, stream, nginx, url, sink, sink_url

-- A free port of 127.0.0.1, asked of the kernel.
local function free_port()
  local output = fresh.spawn([[node -e '
    const server = require("net").createServer().listen(0, "127.0.0.1", () => {
      console.log(server.address().port); server.close(); })']]):wait()
  return output:match "%d+"
end

local function write(path, text)
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
end

-- The example's own nginx.conf, with another port and the library that was built here.
local function configure(port)
  local file = assert(io.open(ROOT .. "/examples/openresty/nginx.conf"))
  local text = file:read "*a"
  file:close()
  local function replace(from, to)
    local first, last = text:find(from, 1, true)
    text = assert(first and text:sub(1, first - 1) .. to .. text:sub(last + 1), from)
  end
  replace("listen 127.0.0.1:8080", "listen 127.0.0.1:" .. port)
  replace("/tmp/clicks-nginx.pid", '"' .. RUN_DIR .. '/clicks.pid"')
  replace('"${prefix}?.lua;;"', ('"${prefix}?.lua;%s/lua/?.lua;%s/lua/?/init.lua;;";\n'
    .. '  lua_package_cpath "%s/build/luajit/?.so;;"'):format(ROOT, ROOT, ROOT))
  write(RUN_DIR .. "/clicks.conf", "user root;\n" .. text)
end

local function post(path, body)
  local output = fresh.spawn(("curl -s -m 20 -w '\\n%%{http_code}' -d '%s' '%s%s'"):format(body, url, path)):wait()
  local text, status = output:match "^(.-)\n?\n(%d+)$"
  return tonumber(status), text
end

-- What the page is told: a line of its stream of events.
local function look_in(line)
  return cjson.decode(line:match "^data: (.*)$")
end

-- How often each event came in the last minute.
local function counted()
  local page, counts = fresh.spawn("curl -s -N -m 5 " .. url .. "/live | head -n 1"), {}
  for _, event in ipairs(look_in(page:line()).events) do
    counts[event.name] = event.count
  end
  page:wait()
  return counts
end

-- What is posted is counted from now on: the page's reader has begun.
local function await_reader()
  fresh.eventually(function()
    post("/clicks", '{"event":"first"}')
    return counted().first
  end)
end

setup(function()
  direct = fresh.client(os.getenv "KINESIS_LOCAL")
  stream = fresh.stream(direct, 3, "clicks")
  -- the alarm's other side prints what it is posted, in its own time; a visit tells how often that was
  sink = fresh.spawn([[exec node -e '
    let told = 0;
    const server = require("http").createServer((request, answer) => {
      let body = ""; request.on("data", (part) => body += part);
      request.on("end", () => {
        if (!body) return answer.end(String(told), () => request.url === "/end" && process.exit());
        console.log(body); told++; setTimeout(() => answer.end("heard"), 2500);
      });
    }).listen(0, "127.0.0.1", () => console.log(server.address().port));
    setTimeout(() => process.exit(), 120000)']])
  sink_url = "http://127.0.0.1:" .. sink:line()
  local port = free_port()
  configure(port)
  url = "http://127.0.0.1:" .. port
  nginx = fresh.spawn([[exec sh -c '
      echo $$; exec nginx -p "$ROOT/examples/openresty/" -c "$RUN_DIR/clicks.conf" -e "$LOG" >"$LOG" 2>&1']], {
    LOG = os.getenv "LOG_DIR" .. "/clicks.log",
    AWS_REGION = fresh.region, AWS_ENDPOINT_URL_KINESIS = os.getenv "KINESIS_LOCAL",
    AWS_ACCESS_KEY_ID = fresh.keys.access_key_id, AWS_SECRET_ACCESS_KEY = fresh.keys.secret_access_key,
    CLICKS_STREAM = stream,
    CLICKS_ALARM_URL = sink_url .. "/alarm", CLICKS_ALARM_EVENT = "error", CLICKS_ALARM_ABOVE = "20",
  })
  nginx.pid = nginx:line()
  fresh.eventually(function()
    return (post("/clicks", "{}")) == 400
  end)
end)

teardown(function()
  fresh.spawn(("kill -QUIT %s; curl -s %s/end"):format(nginx.pid, sink_url)):wait()
  nginx:wait()
  sink:wait()
  direct:call("DeleteStream", { StreamName = stream })
  direct:close()
end)

describe("the clickstream endpoint", function()
  it("refuses what is no click, and says why", function()
    for body, why in pairs {
      ["{"] = "must be JSON", ["3"] = "must be JSON", ["{}"] = "click 1 must be an object with the string 'event'",
      ['[{"event":"a"},{"event":1}]'] = "click 2 must be",
    } do
      local status, text = post("/clicks", body)
      assert.equal(400, status)
      assert.matches(why, cjson.decode(text).error, 1, true)
    end
  end)

  it("shows its counters to Prometheus", function()
    local text = fresh.spawn("curl -s " .. url .. "/metrics"):wait()
    local name = stream:gsub("%-", "%%-")
    assert.matches('kinesis_producer_accepted_records_total{stream="' .. name .. '",worker="%d"}', text)
  end)
end)

describe("the live page", function()
  it("shows what was posted, at two widths, in light and dark, without a word on the console", function()
    if fresh.spawn("command -v chromium"):wait() == "" then
      pending "there is no Chromium on this system"
      return
    end
    local output, status = fresh.spawn(("timeout 60 node '%s/spec/support/dashboard.mjs' %s/ '%s/build'"):format(
      ROOT, url, ROOT)):wait()
    assert.equal(0, status, output)
    local said = cjson.decode(output:match "({.*})")
    assert.same({}, said.console)
    assert.same({}, said.failed)
    assert.same({}, said.overflow)
    assert.same({ "<b>view</b>", "search", "buy" }, said.events)
    assert.equal(3, said.shards)
    assert.equal("775", said.minute)
    assert.matches("^[%d.]+ m?s$", said.lag)
  end)
end)

describe("a reload", function()
  it("counts each click once", function()
    await_reader()
    local old, clicks = fresh.children(nginx.pid), 0
    for _ = 1, 3 do
      fresh.spawn("kill -HUP " .. nginx.pid):wait()
      for _ = 1, 50 do
        assert.equal(202, (post("/clicks", '{"event":"reload","user":"one shard"}')))
        clicks = clicks + 1
      end
    end
    fresh.eventually(function()
      for pid in pairs(fresh.children(nginx.pid)) do
        if old[pid] then
          return false
        end
      end
      return true
    end)
    assert.equal(202, (post("/clicks", '{"event":"last","user":"one shard"}')))
    local counts = fresh.eventually(function()
      local now = counted()
      return now.last and now
    end)
    assert.equal(clicks, counts.reload)
  end)
end)

describe("the names of events", function()
  it("are counted up to a bound, and the page is told of the most frequent", function()
    await_reader()
    local clicks = {}
    for i = 1, 300 do
      clicks[i] = ('{"event":"made by a visitor %d"}'):format(i)
    end
    assert.equal(202, (post("/clicks", "[" .. table.concat(clicks, ",") .. "]")))
    local counts = fresh.eventually(function()
      local now = counted()
      return now.other and now
    end)
    local told_of = 0
    for _ in pairs(counts) do
      told_of = told_of + 1
    end
    assert.equal(20, told_of)
    assert.is_true(counts.other > 150 and counts.other <= 300, counts.other)
  end)
end)

describe("the alarm", function()
  it("is told once while it stays too much", function()
    await_reader()
    for _ = 1, 3 do
      local status, text = post("/clicks", "[" .. ('{"event":"error"},'):rep(19) .. '{"event":"error"}]')
      assert.equal(202, status)
      assert.equal(20, cjson.decode(text).accepted)
    end
    local alarm = cjson.decode(sink:line())
    assert.equal("error", alarm.event)
    assert.is_true(alarm.count > 20 and alarm.count <= 60)
    assert.equal(10, alarm.seconds)
    local page = fresh.spawn("curl -s -N -m 20 " .. url .. "/live | head -n 11") -- six seconds, as many looks
    for _ = 1, 6 do
      local seconds, lately = look_in(page:line()).seconds, 0
      for i = #seconds - 9, #seconds do
        lately = lately + seconds[i]
      end
      assert.is_true(lately > 20, lately)
      page:line()
    end
    page:wait()
    assert.equal("1", (fresh.spawn("curl -s " .. sink_url):wait()))
  end)
end)

describe("an unusual click", function()
  it("is stored as it was posted, alone and in a list", function()
    local one = ' {"event": "one", "id":1700000000123456789, "items":[], "none":null, "huge":1e999}'
    local two = [=[{"event":"}]\\\"{[","in":{"deep":[{}, []]}, "price":0.10}]=]
    assert.equal(202, (post("/clicks", one)))
    local status, text = post("/clicks", "[" .. two .. " ,\n" .. one .. "]")
    assert.equal(202, status)
    assert.equal(2, cjson.decode(text).accepted)
    assert.equal(400, (post("/clicks", '[{"event":"half"},{"event":"a","v":NaN}]')))
    fresh.eventually(function()
      local stored = {}
      for _, click in ipairs(fresh.read(direct, stream)) do
        stored[click.data] = (stored[click.data] or 0) + 1
      end
      assert.is_nil(stored['{"event":"half"}'])
      return stored[one] == 1 and stored[one:sub(2)] == 1 and stored[two] == 1
    end)
  end)

  it("may have any text as its user", function()
    for _, user in ipairs { "", ("u"):rep(300), "\\u0000", "\xff\xfe" } do
      assert.equal(202, (post("/clicks", ('{"event":"visit","user":"%s"}'):format(user))))
    end
  end)
end)
