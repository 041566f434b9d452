-- Workers in nginx: they share a stream through reloads, quits, stops and kills.
-- Flavours: lua5.4
local cjson = require "cjson"
local fresh = require "support.fresh"
local nginx = require "support.nginx"

local KINESALITE = fresh.services[2]
local client, stream, folder

before_each(function()
  client = fresh.client(KINESALITE)
  stream, folder = fresh.stream(client, 4, "nginx"), fresh.folder { empty = "" }
end)

after_each(function()
  nginx.stop_all()
  client:close()
end)

-- Two nginx workers with a worker each, whose handler appends to the file `got`. No lease is taken by time: `failover`
-- is long. `more`: code, http, locations, env; main: directives;
-- processes: nginx workers.
local function start(more)
  more = more or {}
  return nginx.start(([[
    %s
    init_worker_by_lua_block {
      local out = assert(io.open("%s/got", "a"))
      out:setvbuf "line"
      local function note(record, shard)
        out:write(ngx.worker.pid(), " ", shard.id, " ", record.data, "\n")
      end
      local options = { path = "%s", failover = 60, take_interval = 1, poll_interval = 0.2, checkpoint_interval = 60 }
      local handler, restart_after, metrics = note, nil, nil
      %s
      require("kinesis.openresty").setup {
        client = { endpoint = "%s", region = "us-east-1",
          credentials = { access_key_id = "a", secret_access_key = "b" } },
        metrics = metrics, workers = { { streams = "%s", application = "counter", handler = handler, options = options,
          restart_after = restart_after } },
      }
    }
    server {
      listen 127.0.0.1:@PORT@;
      location = / { return 204; }
      location = /spawn {
        content_by_lua_block {
          local client, wait = require("kinesis.openresty").client(), require "kinesis.wait"
          wait.run(client, function()
            collectgarbage()
            local before = collectgarbage "count"
            for i = 1, 1000 do
              wait.spawn(client, function()
                ngx.sleep(0)
                wait.spawn(client, function() ngx.sleep(0) end)
              end)
              if i %% 10 == 0 then ngx.sleep(0.001) end
            end
            ngx.sleep(0.01)
            collectgarbage()
            ngx.print(collectgarbage "count" - before)
          end)
        }
      }
      %s
      location = /timers {
        content_by_lua_block { ngx.print(ngx.timer.running_count(), " ", ngx.timer.pending_count()) }
      }
    }
  ]]):format(more.http or "", folder, folder, more.code or "", KINESALITE.endpoint, stream,
    more.locations or ""), more.env, nil,
    ("worker_processes %d; %s"):format(more.processes or 2, more.main or ""))
end

local function put(first, last)
  fresh.put_numbers(client, stream, first, last)
end

-- What the handlers have written: record -> how often; and shard -> the nginx worker that has read it last.
local function got()
  local records, pids, file = {}, {}, io.open(folder .. "/got")
  for line in file and file:lines() or function() end do
    local pid, shard, data = line:match "^(%d+) (%S+) (%d+)$"
    records[tonumber(data)] = (records[tonumber(data)] or 0) + 1
    pids[shard] = pid
  end
  return records, pids, file and file:close()
end

local function await(count)
  fresh.eventually(function()
    local records, i = got(), 1
    while records[i] and i < count do
      i = i + 1
    end
    return records[i]
  end)
end

local function await_any()
  fresh.eventually(function()
    return next((got()))
  end)
end

local function expect_once(first, last)
  local records = got()
  for i = first, last do
    assert.equal(1, records[i], "record " .. i)
  end
end

-- That no lease has an owner; of the checkpoints, how many are sequence numbers.
local function expect_released()
  local file = assert(io.open(folder .. "/counter.json"))
  local count = 0
  for shard, row in pairs(cjson.decode(file:read "*a").leases) do
    assert.is_nil(row.owner, shard)
    count = count + (row.checkpoint:find "^%d" and 1 or 0)
  end
  file:close()
  return count
end

-- The lines of a log that are warnings or worse.
local function complaints(log)
  local list = {}
  for line in log:gmatch "[^\n]+" do
    if not (line:find("[notice]", 1, true) or line:find("[info]", 1, true)) then
      list[#list + 1] = line
    end
  end
  return table.concat(list, "\n")
end

local function kill(signal, pid)
  fresh.spawn(("kill -%s %s"):format(signal, pid)):wait()
end

describe("workers in nginx", function()
  it("give up their leases behind the last record at a reload and a quit, and the next ones take them", function()
    local server = start()
    put(1, 100)
    await(100)
    for i = 1, 2 do
      local old = fresh.children(server.pid)
      kill("HUP", server.pid)
      put(100 * i + 1, 100 * i + 100)
      await(100 * i + 100)
      nginx.await_leaving(server.pid, old)
    end
    put(301, 400)
    await(400)
    local _, pids = got()
    for _, pid in pairs(pids) do
      assert.is_true(fresh.children(server.pid)[pid])
    end
    assert.equal("", complaints(server:quit()))
    assert.equal(4, expect_released())
    expect_once(1, 400)
  end)

  it("finish the record in hand at a quit", function()
    local server = start { code = "function handler(...) ngx.sleep(0.5) note(...) end", processes = 1 }
    put(1, 40)
    await_any()
    local log = server:quit()
    assert.equal("", complaints(log))
    assert.equal(4, expect_released())
    server = start()
    await(40)
    server:quit()
    expect_once(1, 40)
  end)

  it("give up their leases at a stop, and the next ones begin at the last checkpoints", function()
    local server = start()
    put(1, 100)
    await(100)
    kill("TERM", server.pid)
    server.child:wait()
    assert.equal("", complaints(server:log()))
    server = start()
    put(101, 200)
    await(200)
    server:quit()
    assert.equal(4, expect_released())
    expect_once(101, 200)
  end)

  it("take the leases of one that was killed, and nginx replaces it", function()
    local server = start()
    put(1, 100)
    await(100)
    local _, pids = got()
    local victim = select(2, next(pids))
    kill("KILL", victim)
    put(101, 200)
    await(200)
    local log = complaints(server:quit())
    assert.matches(("^[^\n]*worker process %s exited on signal 9$"):format(victim), log)
    assert.equal(4, expect_released())
  end)

  it("wait for their handlers at a quit no longer than stop_timeout", function()
    local server = start { processes = 1,
      code = ([[
        options.stop_timeout = 0.5
        function handler(...) note(...) ngx.sleep(4) io.open("%s/woke", "w") end
      ]]):format(folder) }
    put(1, 40)
    await_any()
    local log = complaints(server:quit())
    assert.matches("^[^\n]*the worker counter has ended: Timeout: [^\n]*0.5 s after stop[^\n]*$", log)
    assert.is_nil(io.open(folder .. "/woke"))
    assert.equal(0, expect_released())
  end)

  it("finish their records after worker_shutdown_timeout", function()
    local server = start { processes = 1, main = "worker_shutdown_timeout 200ms;", code = ([[
      function handler(record, shard)
        note(record, shard)
        ngx.sleep(1)
        local ended = assert(io.open("%s/ended", "a"))
        ended:write(record.data, "\n")
        ended:close()
      end
    ]]):format(folder) }
    put(1, 40)
    await_any()
    assert.equal("", complaints(server:quit()))
    local begun, ended = 0, 0
    for _ in pairs((got())) do
      begun = begun + 1
    end
    for _ in io.lines(folder .. "/ended") do
      ended = ended + 1
    end
    assert.equal(begun, ended)
    assert.equal(begun, expect_released())
  end)

  it("go on in requests without lua_code_cache", function()
    local server = start { http = "lua_code_cache off;" }
    put(1, 100)
    await(100)
    for _ = 1, 20 do
      assert.equal("204", (server:get "/"))
    end
    local old = fresh.children(server.pid)
    kill("HUP", server.pid)
    put(101, 200)
    await(200)
    nginx.await_leaving(server.pid, old)
    for line in complaints(server:quit()):gmatch "[^\n]+" do
      assert.matches("lua_code_cache is off", line)
    end
    assert.equal(4, expect_released())
    expect_once(1, 200)
  end)

  it("that end with an error are logged, and begin again", function()
    local server = start { processes = 1, code = [[
      restart_after = 0.2
      local failed
      function handler(record, shard)
        if not failed then
          failed = true
          error "no disk"
        end
        note(record, shard)
      end
    ]] }
    put(1, 40)
    await(40)
    local log = complaints(server:quit())
    assert.matches("kinesis: the worker counter has ended, and begins again in 0.2 s: [^\n]*no disk\nstack traceback",
      log)
    expect_once(1, 40)
    assert.equal(4, expect_released())
  end)

  it("are found by their application, for checkpoints by hand", function()
    local server = start { processes = 1, code = [[
      options.checkpoint = "manual"
      function handler(record, shard)
        assert(require("kinesis.openresty").worker "counter":checkpoint(record))
        note(record, shard)
      end
    ]] }
    put(1, 40)
    await(40)
    kill("TERM", server.pid)
    server.child:wait()
    assert.equal("", complaints(server:log()))
    assert.equal(4, expect_released())
  end)

  it("have their counters on the page", function()
    local server = start { http = "lua_shared_dict kinesis 1m;", code = 'metrics = "kinesis"',
      locations = 'location = /metrics { content_by_lua_block { require("kinesis.openresty").metrics() } }' }
    put(1, 40)
    fresh.eventually(function()
      local _, page = server:get "/metrics"
      local held, records = 0, 0
      for count in page:gmatch 'kinesis_worker_leases_held{application="counter",worker="%d"} (%d+)' do
        held = held + tonumber(count)
      end
      for count in page:gmatch 'kinesis_reader_records_total{application="counter",worker="%d"} (%d+)' do
        records = records + tonumber(count)
      end
      return held == 4 and records == 40
    end)
    assert.equal("", complaints(server:quit()))
  end)

  it("say what to do where there is no folder for their leases", function()
    local server = start { processes = 1, code = "options.path = nil", env = { HOME = "/dev/null" } }
    fresh.eventually(function()
      return server:log():find("has ended", 1, true)
    end)
    assert.matches("and begins again in 10 s: LeaseStore: /dev/null/.local/state/kinesis: [^\n]*set the option `path`",
      server:quit())
  end)

  it("leave nothing behind in the long run of one of them", function()
    local server = start()
    local _, grown = server:get "/spawn"
    assert.is_true(tonumber(grown) < 150, grown)
    fresh.eventually(function() -- that runs, and the one that waits for answers
      return select(2, server:get "/timers"):find "^2 %d$"
    end)
    server:quit()
  end)
end)

describe("the example of a store in a dictionary of nginx", function()
  local STORE = ('dofile "%s/examples/openresty/leases.lua" (ngx.shared.leases)'):format(os.getenv "ROOT")

  it("does as every store", function()
    local server = start { http = "lua_shared_dict leases 1m;", locations = ([[
      location = /contract {
        content_by_lua_block {
          local store, list = %s, {}
          local function note(...)
            list[#list + 1] = require("cjson").encode { ... }
          end
          local get, create, update, delete = store.get, store.create, store.update, store.delete
          note(get "a", delete("a", { counter = 1 }), update("a", { counter = 1 }, { counter = 2 }))
          note(create("a", { counter = 1, checkpoint = "1", parents = { "b" } }), create("a", { counter = 5 }))
          note(update("a", { counter = 2 }, { owner = "me" }), update("a", { counter = 1, owner = "you" }, {}))
          note(update("a", { counter = 1 }, { counter = 2, owner = "me" }), get("a").owner, store.list().a.counter)
          note(update("a", { counter = 2 }, {}), update("a", { counter = 2, owner = "me" }, { owner = false }))
          note(get("a").owner == nil, get("a").parents[1], delete("a", { counter = 1 }),
            delete("a", { counter = 2 }), next(store.list()) == nil)
          note(create("b", { counter = 1, checkpoint = ("x"):rep(2000000) }))
          note(get "b")
          ngx.say(table.concat(list, "\n"))
        }
      }
    ]]):format(STORE) }
    local _, body = server:get "/contract"
    assert.equal([=[
[false,false,false]
[true,false]
[false,false]
[true,"me",2]
[false,true]
[true,"b",false,true,true]
[null,"no memory"]
[false]
]=], body)
    server:quit()
  end)

  it("lets one of many change a row, in whatever nginx worker they are", function()
    local server = start { http = "lua_shared_dict leases 1m;", locations = ([[
      location = /count {
        content_by_lua_block {
          local store, done = %s, 0
          store.create("row", { counter = 0 })
          for i = 1, 200 do
            local row = store.get "row"
            if i %% 10 == 0 then ngx.sleep(0.001) end
            done = done + (store.update("row", { counter = row.counter }, { counter = row.counter + 1 }) and 1 or 0)
          end
          ngx.print(done, " ", store.get("row").counter)
        }
      }
    ]]):format(STORE) }
    local children, sum, most = {}, 0, 0
    for i = 1, 8 do
      children[i] = fresh.spawn(("curl -s -m 20 %s/count"):format(server.url))
    end
    for _, child in ipairs(children) do
      local done, counter = child:wait():match "^(%d+) (%d+)$"
      sum, most = sum + tonumber(done), math.max(most, tonumber(counter))
    end
    assert.equal(most, sum)
    server:quit()
  end)

  it("serves workers through reloads, and one that is killed loses its leases by time", function()
    local server = start { http = "lua_shared_dict leases 1m;",
      code = "options.path, options.failover, options.store = nil, 1.5, " .. STORE }
    put(1, 100)
    await(100)
    local old = fresh.children(server.pid)
    kill("HUP", server.pid)
    put(101, 200)
    await(200)
    nginx.await_leaving(server.pid, old)
    put(201, 300)
    await(300)
    expect_once(1, 300)
    local _, pids = got()
    kill("KILL", select(2, next(pids)))
    put(301, 400)
    await(400)
    assert.matches("^[^\n]*exited on signal 9$", complaints(server:quit()))
  end)
end)
