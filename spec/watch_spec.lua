-- examples/stream.lua watch: in a pseudo-terminal as a person sees it, and piped; what it is made of by itself.
-- Flavours: lua5.4 luajit
local ROOT, LUA = os.getenv "ROOT", os.getenv "LUA"
package.path = ROOT .. "/examples/?.lua;" .. package.path

local cjson = require "cjson"
local fresh = require "support.fresh"
local keys = require "watch.keys"
local load = require "watch.load"
local screen = require "watch.screen"
local terminal = require "watch.terminal"
local views = require "watch.view"

local has_signals = pcall(require, "posix.signal")
local client, env, writer, flag -- env: of the examples

-- Puts until the file is gone: seven of ten records under one key; a record of one shard is a kilobyte.
local WRITER = [[
  local kinesis = require "kinesis"
  local number = 0
  local function is_wanted()
    local file = io.open(arg[1])
    return file and file:close()
  end
  while is_wanted() do
    local records = {}
    for i = 1, 20 do
      number = number + 1
      records[i] = { data = ("x"):rep(1000), partition_key = i <= 14 and "user-42" or "user " .. number % 100 }
    end
    assert(kinesis.put_many(os.getenv "KINESIS_STREAM", records))
    kinesis.sleep(0.1)
  end
]]

local function write(path)
  assert(io.open(path, "w")):close()
end

-- Runs the verb in a terminal of this size, and follows a dialogue; see spec/support/terminal.py.
local function watch(columns, lines, dialogue, more, arguments)
  local file = os.tmpname()
  local out = assert(io.open(file, "w"))
  out:write(dialogue)
  out:close()
  local all = { TERM = "xterm", LC_ALL = "C.UTF-8", COLUMNS = "", LINES = "", NO_COLOR = "" }
  for _, variables in ipairs { env, more or {} } do
    for name, value in pairs(variables) do
      all[name] = value
    end
  end
  local command = '"$PYTHON" "$ROOT/spec/support/terminal.py" %d %d "$LUA $ROOT/examples/stream.lua watch %s" <%s'
  command = command:format(columns, lines, arguments or "", file)
  local output = fresh.spawn(command, all):wait()
  os.remove(file)
  local good, result = pcall(cjson.decode, output)
  assert.is_true(good, output)
  assert.is_nil(result.failed, (result.failed or "") .. " was not seen in:\n" .. table.concat(result.rows, "\n"))
  return result
end

-- What the verb prints when stdout is a pipe: stdout, stderr, and the status.
local function piped(arguments, other_env)
  local errors = os.tmpname()
  local command = ('%s "$ROOT/examples/stream.lua" watch %s 2>%s'):format(LUA, arguments, errors)
  local output, status = fresh.spawn(command, other_env or env):wait()
  local file = assert(io.open(errors))
  local text = file:read "*a"
  file:close()
  os.remove(errors)
  return output, text, status
end

local function assert_restored(result)
  assert.equal(0, result.status)
  assert.same({}, result.unknown)
  assert.is_true(result.cursor and result.wrap and result.plain)
  assert.is_false(result.alternate)
  assert.matches("^Service:   http://127%.0%.0%.1:%d+ %(on th", result.rows[1])
  assert.matches("^[%d,]+ records?, [%d.]+ [KM]?i?B, in %d+ s$", result.rows[2])
  assert.equal("", result.rows[3])
end

-- The rows of a screen from the one that matches `pattern` on.
local function row_of(rows, pattern)
  for i, row in ipairs(rows) do
    if row:find(pattern) then
      return row, i
    end
  end
  error(pattern .. " is not in:\n" .. table.concat(rows, "\n"))
end

local function set_of(list)
  local set = {}
  for _, item in ipairs(list) do
    set[item] = true
  end
  return set
end

setup(function()
  client = fresh.client(fresh.services[2])
  env = fresh.example_env(fresh.services[2], (fresh.stream(client, 2, "watched")))
  flag = os.tmpname()
  write(flag)
  writer = fresh.lua(WRITER, env, flag)
end)

teardown(function()
  os.remove(flag)
  local output, status = writer:wait()
  assert.equal(0, status, output)
  client:call("DeleteStream", { StreamName = env.KINESIS_STREAM })
  client:close()
end)

describe("in a terminal", function()
  it("it shows the load of each shard, the hottest one, its keys, the lag, and follows the size", function()
    local result = watch(100, 24, [[
      see ^watched-
      see ^hottest partition keys .sampled.$
      see ^  user-42 +[5-9]\d % of the stream
      see ^\d[\d,.]* records/s +▇  peak
      see ^lag \d
      shot wide
      size 40 20
      see ^shard +load +rec/s +B/s minute$
      shot narrow
      size 100 24
      see last minute$
      key C
      end]])
    assert_restored(result)
    local wide, narrow = result.shots.wide, result.shots.narrow
    assert.matches("^lag %d[%d.]* s   2 shards   http://127%.0%.0%.1:%d+$", wide[2])
    assert.matches("^[%d.,]+ [KM]iB/s +▇  peak [%d.,]+ [KM]iB$", (row_of(wide, "iB/s")))
    local hottest = row_of(wide, "^hottest shard"):match "^hottest shard  (shardId%-%d+)   [%d.]+ %% of its limits$"
    assert.is_string(hottest)
    local hot = row_of(wide, "^…" .. hottest:sub(-6))
    assert.matches("^…%d+ +[%d.]+ %%.? +[%d.,]+ [█▏▎▍▌▋▊▉·]+ +[%d.]+ [KM]iB [█▏▎▍▌▋▊▉·]+ +▇$", hot)
    assert.matches("of " .. hottest:gsub("%-", "%%-") .. "$", (row_of(wide, "user%-42")))
    assert.same({ [2] = true, [36] = true }, set_of(result.colours.wide[4]))
    assert.matches("^lag .*…$", narrow[2])
    row_of(narrow, "^…" .. hottest:sub(-4))
  end)

  it("it ends after SECONDS, with a line of what was read", function()
    assert_restored(watch(80, 24, "see records/s\nend", nil, "2"))
  end)

  it("it ends by SIGTERM where lua-posix is", function()
    if not has_signals then
      pending "lua-posix is not installed for this Lua"
      return
    end
    assert_restored(watch(80, 24, "see records/s\nsignal TERM\nend"))
  end)

  it("without colours, and in ASCII, where that is wanted", function()
    local result = watch(80, 24, [[
      see user-42
      see peak
      see #
      shot ascii
      key C
      end]], { NO_COLOR = "1", LC_ALL = "C", COLUMNS = "50", LINES = "10" })
    assert_restored(result)
    assert.is_nil(table.concat(result.shots.ascii, "\n"):find "[\128-\255]")
    for i, row in ipairs(result.shots.ascii) do
      assert.is_true(#row <= (i <= 10 and 50 or 0), row) -- COLUMNS and LINES count before the size of the terminal
    end
    for _, colours in ipairs(result.colours.ascii) do
      assert.same({}, colours)
    end
  end)

  it("that is dumb, it prints lines", function()
    local result = watch(200, 24, "see ^....-..-..T.* hottest_key=\"user-42\"$\nkey C\nend", { TERM = "dumb" })
    assert.equal(0, result.status)
    assert.same({}, result.unknown)
    row_of(result.rows, " records, .*, in %d+ s$")
  end)

  it("it shows new shards, and which ended", function()
    local other = fresh.client(fresh.services[1]) -- the end of an empty shard takes kinesalite half a minute
    local stream, script = fresh.stream(other, 1, "split"), os.tmpname()
    local out = assert(io.open(script, "w"))
    out:write [[
      local kinesis = require "kinesis"
      local name = os.getenv "KINESIS_STREAM"
      assert(kinesis.split_shard { StreamName = name, ShardToSplit = "shardId-000000000000",
        NewStartingHashKey = "7" })
      assert(kinesis.wait_until("stream_exists", { StreamName = name }, { interval = 0.1 }))
      local records = {}
      for i = 1, 100 do
        records[i] = { data = "x", partition_key = "key" }
      end
      assert(kinesis.put_many(name, records))]]
    out:close()
    local result = watch(120, 24, ([[
      see ^shardId-000000000000 +0 %%
      run %s %s
      see ^shardId-000000000000 +ended$
      see ^shardId-000000000001 +0 %%
      see ^shardId-000000000002 +\S+ %% +[1-9]
      see 2 shards
      key C
      end]]):format(LUA, script), fresh.example_env(fresh.services[1], stream))
    os.remove(script)
    assert_restored(result)
    other:call("DeleteStream", { StreamName = stream })
    other:close()
  end)
end)

describe("piped", function()
  it("it prints a line a second: time, rates, lag, hottest shard and key", function()
    local output, errors, status = piped "5"
    assert.equal(0, status, errors)
    assert.matches("^Service:   [^\n]+\n[%d,]+ records, [^\n]+, in %d s\n$", errors)
    local count, last = 0, nil
    for line in output:gmatch "[^\n]+" do
      assert.matches("^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%dZ records_per_second=%d+%.%d bytes_per_second=%d+ "
        .. "lag=[%d.-]+ hottest_shard=%S+ load=[%d.-]+ hottest_key=[-\"][^\"]*\"?$", line)
      count, last = count + 1, line
    end
    assert.is_true(count >= 2 and count <= 6, output)
    assert.matches('hottest_key="user%-42"$', last)
  end)

  it("an error is one line", function()
    local output, errors, status = piped("", fresh.example_env(fresh.services[2], "no-such-stream"))
    assert.equal("", output)
    assert.equal(1, status)
    assert.matches("^Service: [^\n]+\nListShards: ResourceNotFoundException: [^\n]+\n$", errors)
    output, errors, status = piped "soon"
    assert.equal("", output)
    assert.equal(1, status)
    assert.matches("\nSECONDS must be a number\n$", errors)
  end)

  it("an output that cannot be written is an error of one line", function()
    local output, status = fresh.spawn(LUA .. ' "$ROOT/examples/stream.lua" watch >/dev/full', env):wait()
    assert.equal(1, status)
    assert.matches("^Service: [^\n]+\nthe output cannot be written: No space left on device\n$", output)
  end)

  it("it ends when nobody reads", function()
    local output = fresh.spawn(LUA .. ' "$ROOT/examples/stream.lua" watch | head -n 1', env):wait()
    assert.matches("records_per_second=", output, 1, true)
  end)
end)

-- ---- the parts ----

-- Records as a reader with batch = "columns" returns them: a list of { shard, time, key, size, sub }.
local function columns_of(list)
  local columns = { n = #list, data = {}, partition_key = {}, shard_id = {}, arrival_timestamp = {},
    sub_sequence_number = {} }
  for i, record in ipairs(list) do
    columns.shard_id[i], columns.arrival_timestamp[i] = record[1], record[2]
    columns.partition_key[i], columns.data[i] = record[3], ("x"):rep(record[4])
    columns.sub_sequence_number[i] = record[5] or false
  end
  return columns
end

describe("the load of a shard", function()
  it("counts by the second of arrival, in the clock of the service, and for 10 seconds at most", function()
    for _, ahead in ipairs { 0, 3600, -3600 } do
      local it = load.new(10000)
      for second = 10000, 10019 do
        it:add(columns_of { { "a", second + ahead + 0.5, "key", 97 }, { "b", second + ahead, "key", 197 },
          { "b", second + ahead, "key", 197 } }, second)
      end
      local last, seconds = it:last(10021, 0.4)
      assert.same({ 10019 + ahead, 10 }, { last, seconds })
      assert.same({ 1, 1, 100 }, { it:shard("a"):mean(last, seconds) })
      assert.same({ 2, 2, 400 }, { it:shard("b"):mean(last, seconds) })
      assert.same({ 3, 3, 500 }, { it.total:mean(last, seconds) })
      local history = it:shard("b"):history(last, 15, function(records) return records end)
      assert.same({ 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 2, 2, 2 }, history)
    end
  end)

  it("stays what it was while reading is behind", function()
    local it = load.new(1000)
    for second = 1000, 1019 do
      it:add(columns_of { { "a", second, "key", 97 } }, second)
    end
    local last, seconds = it:last(1060, 40.2)
    assert.same({ 1, 1, 100 }, { it:shard("a"):mean(last, seconds) })
  end)

  it("counts an aggregate as one record of the shard, and its key once", function()
    local it = load.new(1000)
    it:add(columns_of { { "a", 1000, "key", 10, 0 }, { "a", 1000, "key", 10, 1 }, { "a", 1000, false, 7 } }, 1000)
    assert.same({ 3, 2, 30 }, { it:shard("a"):mean(1000, 1) })
  end)

  it("forgets what is older than the history, and a record from before it", function()
    local it = load.new(1000)
    for second = 1000, 2000 do
      it:add(columns_of { { "a", second, "key", 97 } }, second)
    end
    it:add(columns_of { { "a", 1000, "key", 97 } }, 2000)
    assert.same({ 1, 1, 100 }, { it:shard("a"):mean(2000, 60) })
  end)
end)

describe("the hottest keys", function()
  it("are found among any number of others, in bounded memory, and are not overrated", function()
    local it, number = keys.new(1000), 0
    for _ = 1, 100 do
      local list = {}
      for i = 1, 1000 do
        number = number + 1
        list[i] = { "a", 1000, i % 10 == 0 and "hot" or i % 20 == 1 and "warm" or "key " .. number, 100 }
      end
      it:add(columns_of(list))
      it:tick()
      local count = 0
      for _ in pairs(it.counters) do
        count = count + 1
      end
      assert.is_true(count <= 256)
    end
    local top = it:top(5)
    assert.equal(2, #top)
    assert.equal("hot", top[1].key)
    assert.equal("warm", top[2].key)
    assert.is_true(top[1].share > 0.09 and top[1].share <= 0.1001, tostring(top[1].share))
    assert.is_true(top[2].share > 0.04 and top[2].share <= 0.0501, tostring(top[2].share))
    assert.is_true(math.abs(top[1].rate - 100 * 1000) < 10000, tostring(top[1].rate))
  end)

  it("of many records are those of a sample, also when the keys take turns", function()
    local it, list = keys.new(1000), {}
    for i = 1, 20000 do
      list[i] = { "a", 1000, i % 2 == 0 and "even" or "odd", 10 }
    end
    for _ = 1, 10 do
      it:add(columns_of(list))
      it:tick()
    end
    local top = it:top(5)
    assert.equal(2, #top)
    for _, key in ipairs(top) do
      assert.is_true(key.share > 0.4 and key.share < 0.6, tostring(key.share))
    end
    assert.equal(10, it.stride)
  end)

  it("weigh by size, and are forgotten", function()
    local it = keys.new(1000)
    local small = { "b", 1, "small", 1 }
    it:add(columns_of { { "a", 1, "large", 50000 }, small, small, { "b", 1, false, 9 } })
    it:tick()
    local top = it:top(5)
    assert.same({ "large", "a", "small", "b" }, { top[1].key, top[1].shard_id, top[2].key, top[2].shard_id })
    for _ = 1, 600 do
      it:tick()
    end
    assert.same({}, it:top(5))
    assert.is_nil(next(it.counters))
  end)
end)

-- A view of so many shards, whose load rises with their number, and of these keys.
local function view_of(count, the_keys)
  local the_load, the_counters, shards = load.new(1000), keys.new(1000), {}
  local list = {}
  for i = 1, count do
    local id = ("shardId-%012d"):format(i - 1)
    shards[id] = { state = "reading", throttled = 0 }
    for _ = 1, i do
      list[#list + 1] = { id, 1000, the_keys and the_keys[i % #the_keys + 1] or "key", 100 }
    end
  end
  the_load:add(columns_of(list), 1000)
  the_counters:add(columns_of(list))
  return views.new("stream", "http://x", the_load, the_counters), { lag = 0.5, shards = shards }
end

-- Columns of a line without its colours.
local function width_of(line)
  local text, wide = line:gsub("\27%[%d*m", ""), 0
  assert.is_nil(text:find "[%c\127]", "a control character")
  for character in text:gmatch "[^\128-\191][\128-\191]*" do
    wide = wide + ((#character == 3 and character >= "ぁ" and character < "\239") and 2 or 1)
  end
  return wide
end

describe("the picture", function()
  local PLAIN = { utf8 = true, colour = false }

  it("shows the hottest shards where not all fit, and says how many are hidden", function()
    local view, stats = view_of(40)
    local lines = screen.lines(view:take(stats, 1002), { columns = 80, lines = 20 }, PLAIN)
    local text = table.concat(lines, "\n")
    assert.equal(20, #lines)
    assert.matches("\n…000032 .*\n…000039 [^\n]+\nand 32 more shards, each with a load of at most 3 %%\n", text)
    assert.is_nil(text:find("…000031", 1, true))
    assert.matches("hottest shard  shardId%-000000000039   4 %% of its limits", text)
  end)

  it("fits any size, whatever bytes the keys have", function()
    local odd = { fresh.bytes, "\27[2J\27[31mred", "\226\128\174override", "ключ", "鍵鍵鍵鍵鍵鍵鍵", "\240\159\148\145", "" }
    for _, count in ipairs { 0, 1, 3, 200 } do
      local view, stats = view_of(count, odd)
      local taken = view:take(stats, 1002)
      for columns = 1, 170, 13 do
        for lines = 1, 40, 13 do
          for _, style in ipairs { PLAIN, { utf8 = true, colour = true }, { utf8 = false, colour = false } } do
            local list = screen.lines(taken, { columns = columns, lines = lines }, style)
            assert.is_true(#list <= lines)
            for _, line in ipairs(list) do
              assert.is_true(width_of(line) <= columns, line)
              assert.is_true(style.utf8 or not line:find "[\128-\255]", line)
            end
          end
        end
      end
      assert.is_nil(screen.plain(taken):find "[%c\127-\255]")
    end
  end)

  it("marks a shard above 80 % of its limits, by records or by bytes", function()
    for _, case in ipairs { { 790, 10, "79 % ", 32 }, { 810, 10, "81 %!", 31 }, { 9, 1e5, "86 %!", 31 } } do
      local the_load, list = load.new(1000), {}
      for i = 1, case[1] do
        list[i] = { "a", 1000, "k", case[2] }
      end
      the_load:add(columns_of(list), 1000)
      local view = views.new("s", "x", the_load, keys.new(1000)):take({ shards = { a = { state = "reading",
        throttled = 0 } } }, 1002)
      local lines = screen.lines(view, { columns = 100, lines = 20 }, PLAIN)
      assert.matches(case[3], lines[8], 1, true)
      lines = screen.lines(view, { columns = 100, lines = 20 }, { utf8 = true, colour = true })
      assert.matches(("\27[%dm█"):format(case[4]), lines[8], 1, true)
      assert.equal(case[4] == 31, lines[8]:find("\27[31m", 1, true) ~= nil)
    end
  end)

  it("shows the records of the shards beside their limit, and how many user records they hold", function()
    local the_load, list = load.new(1000), {}
    for i = 1, 800 do
      list[i] = { "a", 1000, "k", 10, (i - 1) % 8 }
    end
    the_load:add(columns_of(list), 1000)
    local view = views.new("s", "x", the_load, keys.new(1000)):take({ shards = { a = { state = "reading",
      throttled = 0 } } }, 1002)
    local lines = screen.lines(view, { columns = 100, lines = 20 }, PLAIN)
    assert.matches("^800 user records/s .* peak 800, in 100 records/s$", lines[4])
    assert.matches("^a +10 %% +100 █", lines[8])
    lines = screen.lines(view, { columns = 40, lines = 20 }, PLAIN)
    assert.matches("^800 records/s .* peak 800, in", lines[4])
  end)

  it("shows an ended shard for a minute, and none that had ended before", function()
    local view, stats = view_of(2)
    stats.shards.old = { state = "done", throttled = 0 }
    local function ids(now)
      local list = {}
      for i, row in ipairs(view:take(stats, now).shards) do
        list[i] = row.id:sub(-1) .. (row.ended and " ended" or "")
      end
      return list
    end
    assert.same({ "0", "1" }, ids(1002))
    stats.shards["shardId-000000000000"].state = "done"
    assert.same({ "0 ended", "1" }, ids(1003))
    assert.same({ "0 ended", "1" }, ids(1063))
    assert.same({ "1" }, ids(1064))
  end)

  it("keeps the hottest keys while nothing can be read", function()
    local view, stats = view_of(1)
    local rate = view:take(stats, 1002).keys[1].rate
    for second = 1003, 1100 do
      stats.lag = second - 1000.5
      assert.equal(rate, view:take(stats, second).keys[1].rate)
    end
    stats.lag = 0.5
    assert.is_true(view:take(stats, 1101).keys[1].rate < rate / 4)
  end)

  it("says for a while why reading fails, or is throttled", function()
    local view, stats = view_of(1)
    assert.same({}, view:take(stats, 1002).notes)
    stats.shards["shardId-000000000000"].throttled = 1
    assert.matches("throttled", view:take(stats, 1003).notes[1])
    assert.matches("throttled", view:take(stats, 1013).notes[1])
    assert.same({}, view:take(stats, 1014).notes)
    view:fail("GetRecords: no", 1015)
    local lines = screen.lines(view:take(stats, 1016), { columns = 80, lines = 20 }, PLAIN)
    assert.equal("GetRecords: no", lines[#lines])
  end)
end)

describe("text for a terminal", function()
  it("is cut by columns, and has no byte that does anything", function()
    for text, shown in pairs {
      ["plain"] = "plain", ["longer than it"] = "longer…", ["ключи от"] = "ключи …", ["鍵鍵鍵鍵"] = "鍵鍵鍵…",
      ["a鍵鍵鍵"] = "a鍵鍵鍵", ["\27[2J"] = "?[2J", ["\255\226\130x"] = "???x", ["e\204\129"] = "e?", ["\194\155x"] = "?x",
      ["\240\159\148\145"] = "????",
    } do
      assert.equal(shown, (terminal.clean(text, 7, true)))
    end
    assert.equal("??? ~", (terminal.clean("\208\186\208 xyz", 5, false)))
  end)
end)
