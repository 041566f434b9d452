-- The store of leases in a file: what its errors say, and that there are never two owners, whatever becomes of files.
local fresh = require "support.fresh"
local kinesis = require "kinesis"
local leasing = require "support.leasing"
local lfs = require "lfs"
local stepping = require "support.stepping"

local in_file = leasing.in_file

before_each(leasing.begin)
after_each(leasing.finish)

describe("the file store", function()
  it("keeps leases while the user's code is busy", function()
    local a, b = in_file "a", in_file "b"
    assert.is_true(a:create("s1", { counter = 0, checkpoint = "5" }))
    assert.is_true(a:take("s1", a:get "s1"))
    local path = leasing.folder .. "/counter.json"
    local counter = 0
    fresh.eventually(function() -- reads the file itself: nothing drains the client
      counter = tonumber(leasing.read(path):match '"counter":(%d+)')
      return counter >= 5
    end)
    assert.is_true(b:get("s1").counter >= 5)
  end)

  it("knows the living", function()
    local a, b = in_file "a", in_file "b"
    assert.is_true(a:is_alive "a")
    assert.is_true(a:is_alive "b")
    for _, name in ipairs { "unknown", "../counter.json", ".", "..", "", ("x"):rep(5000), "b\0c" } do
      assert.is_true(b:is_alive(name), name) -- it may live: there is no sign of its death
    end
    assert.is_truthy(lfs.attributes(leasing.folder .. "/counter.workers/b"))
    b:close()
    fresh.eventually(function()
      return not lfs.attributes(leasing.folder .. "/counter.workers/b")
    end)
  end)

  it("knows the dead, and removes their files when they own nothing", function()
    local a, b = in_file "a", in_file "b"
    local child = leasing.child [[
      local dead = open "dead"
      dead:create("s1", { counter = 0, checkpoint = "5" })
      assert(dead:take("s1", dead:get "s1"))
      say(io.open "/proc/self/stat":read "*n")
      kinesis.sleep(60)
    ]]
    local pid = child:line()
    assert.is_true(a:is_alive "dead")
    fresh.spawn("kill -9 " .. pid):wait()
    child:wait()
    assert.is_false(a:is_alive "dead")
    assert.is_false(b:is_alive "dead")
    local life = leasing.folder .. "/counter.workers/dead"
    local row = b:get "s1"
    assert.equal("dead", row.owner)
    in_file("c"):create("s2", { counter = 0, checkpoint = "5" })
    assert.is_truthy(lfs.attributes(life)) -- others are to see that it is dead
    assert.is_true(b:take("s1", row))
    in_file("d"):create("s3", { counter = 0, checkpoint = "5" })
    assert.is_nil(lfs.attributes(life))
    assert.is_true(a:is_alive "b")
  end)

  it("begins while another worker removes the files of the dead", function()
    local child = leasing.child [[
      say "begun"
      local i, stop = 0, core.now() + 1
      while core.now() < stop do
        i = i + 1
        local other = assert(open("other" .. i))
        other:create("s1", { counter = 0, checkpoint = "5" })
        other:close()
      end
    ]]
    child:line()
    for i = 1, 1000 do
      in_file("w" .. i):close()
    end
    assert.equal("", (child:wait()))
  end)

  it("replaces what a killed worker has left of a write, and writes nothing through a link", function()
    local a, left = in_file "a", leasing.folder .. "/counter.json.new"
    leasing.write(left, "{")
    assert.is_true(a:create("s1", { counter = 0, checkpoint = "5" }))
    leasing.write(leasing.folder .. "/other", "theirs")
    assert.is_true(lfs.link(leasing.folder .. "/other", left, true))
    assert.is_true(a:create("s2", { counter = 0, checkpoint = "5" }))
    assert.equal("theirs", leasing.read(leasing.folder .. "/other"))
    assert.is_truthy(a:list().s2)
    assert.is_nil(lfs.symlinkattributes(left))
  end)

  it("refuses a table that is a link: workers that come by another path would have other locks", function()
    local a, path = in_file "a", leasing.folder .. "/counter.json"
    assert.is_true(a:create("s1", { counter = 0, checkpoint = "5" }))
    assert.is_true(os.rename(path, path .. ".moved"))
    assert.is_true(lfs.link(path .. ".moved", path, true))
    for _, result in ipairs { { a:list() }, { a:create("s2", { counter = 0, checkpoint = "5" }) } } do
      assert.is_nil(result[1])
      assert.matches("counter.json: it is a symbolic link.*option `path`", result[2].message)
      assert.is_true(a:is_fatal(result[2]))
    end
    assert.is_truthy(lfs.symlinkattributes(path, "target"))
  end)

  it("counts a worker as living while a forked child of its process lives", function()
    local child = leasing.child [[
      local function pid() return io.open "/proc/self/stat":read "*n" end
      local a, parent = open "a", pid()
      a:create("s1", { counter = 0, checkpoint = "5" })
      assert(a:take("s1", a:get "s1"))
      if jit then
        local ffi = require "ffi"
        ffi.cdef "int fork(void);"
        ffi.C.fork()
      else
        local fork = assert(package.loadlib("libc.so.6", "fork"))
        fork()
      end
      if pid() ~= parent then
        say(pid())
        os.execute "exec sleep 60"
      end
      kinesis.sleep(60)
    ]]
    local forked = child:line()
    local parent = leasing.read(("/proc/%s/stat"):format(forked)):match "^%d+ %(.-%) %S (%d+)"
    local b = in_file "b"
    fresh.spawn("kill -9 " .. parent):wait()
    local before = b:get("s1").counter
    for _ = 1, 20 do
      assert.is_true(b:is_alive "a")
    end
    assert.equal("a", b:get("s1").owner) -- and the counter stands still: others take it after failover
    assert.equal(before, b:get("s1").counter)
    local sleeper = next(fresh.children(forked)) or ""
    fresh.spawn(("kill -9 %s %s"):format(forked, sleeper)):wait()
    fresh.eventually(function()
      return not b:is_alive "a"
    end)
    child:wait()
  end)

  it("gives its leases up when it is closed, or left to the collector", function()
    local a, b = in_file "a", in_file "b"
    for i = 1, 3 do
      assert.is_true(a:create("s" .. i, { counter = 0, checkpoint = "5" }))
      assert.is_true(a:take("s" .. i, a:get("s" .. i)))
    end
    a:close()
    fresh.eventually(function()
      local rows = b:list()
      return not (rows.s1.owner or rows.s2.owner or rows.s3.owner)
    end)
    assert.is_true(b:get("s1").counter >= 2)
  end)

  it("refuses what is no table of its version, and leaves it as it is", function()
    local path = leasing.folder .. "/counter.json"
    local a = in_file "a"
    assert.is_true(a:create("s1", { counter = 0, checkpoint = "5" }))
    local good = leasing.read(path)
    for text, message in pairs {
      [good:sub(1, -4)] = "only a part",
      [""] = "only a part",
      ["hello"] = "no table of leases",
      [good:gsub('"version":1', '"version":2', 1)] = "later version",
    } do
      leasing.write(path, text)
      local rows, err = a:list()
      assert.is_nil(rows)
      assert.equal("LeaseStore", err.code)
      assert.is_false(err.retryable)
      assert.matches(message, err.message)
      assert.is_nil((a:create("s2", { counter = 0 })))
      assert.equal(text, leasing.read(path))
    end
    leasing.write(path, good)
    assert.equal("5", a:get("s1").checkpoint)
    assert(os.execute(("rm '%s' && mkdir '%s'"):format(path, path)))
    local rows, err = a:list()
    assert.is_nil(rows)
    assert.is_false(err.retryable)
    assert.matches("counter.json: it cannot be read: Is a directory; set the option `path`", err.message)
  end)

  it("leaves rows out that are not in order, and takes numbers and nulls as a hand writes them", function()
    local path = leasing.folder .. "/counter.json"
    local a = in_file "a"
    assert.is_true(a:create("s1", { counter = 7, checkpoint = "5" }))
    leasing.write(path, (leasing.read(path):gsub('"counter":7', '"counter":7.0,"owner":null'):gsub('"leases":{',
      '"leases":{"b1":{},"b2":null,"b3":5,"b4":{"counter":true,"checkpoint":[]},')))
    local rows, err = a:list()
    assert.is_nil(rows) -- a row that is no object: the file is no table
    assert.matches("no table of leases", err.message)
    leasing.write(path, (leasing.read(path):gsub('"b2":null,"b3":5,', "")))
    rows = a:list()
    assert.same({ counter = 7, checkpoint = "5" }, rows.s1)
    assert.same({ "b1" }, rows.b1.parents)
    assert.same({ "b4" }, rows.b4.parents)
    local told = {}
    for _, event in ipairs(a:poll()) do
      told[event[2]] = event[3].message
    end
    assert.matches("no `c", told.b1)
    assert.matches("its `c.- is not", told.b4)
    assert.is_true(a:take("s1", rows.s1))
    assert.is_truthy(a:write("s1", { checkpoint = "6" }))
    leasing.write(path, (leasing.read(path):gsub('"b1":{},', ""))) -- as the message says
    assert.is_true(a:create("b1", rows.b1)) -- as workers do with a row that vanishes
    assert.same({ counter = 0, checkpoint = "TRIM_HORIZON" }, (a:get "b1"))
  end)

  it("sees a new file that has the inode of an older one", function()
    local path = leasing.folder .. "/counter.json"
    local a = in_file "a"
    assert.is_true(a:create("s1", { counter = 0, checkpoint = "5" }))
    local text = leasing.read(path):gsub('"5"', '"6"')
    for i = 1, 10 do -- ext4 gives the inode of the replaced file to the next one
      leasing.write(path .. ".other", i % 2 == 0 and text or text:gsub('"6"', '"7"'))
      os.execute(("touch -r '%s' '%s.other' && mv '%s.other' '%s'"):format(path, path, path, path))
      if i % 2 == 0 then
        assert.equal("6", a:get("s1").checkpoint)
      end
    end
    a:list()
    for i = 1, 10 do
      leasing.write(path .. ".other", text:gsub('"6"', ('"%d"'):format(i % 10)))
      os.execute(("touch -r '%s' '%s.other' && mv '%s.other' '%s'"):format(path, path, path, path))
      if i % 2 == 0 then
        assert.equal(tostring(i % 10), a:get("s1").checkpoint)
      end
    end
  end)

  it("says why it cannot be used", function()
    local options = { worker = "a", folder = "/proc/here", application = "counter", failover = 1 }
    local handle, err = leasing.try(options)
    assert.is_nil(handle)
    assert.matches("^/proc/here: .*set the option `path`", err.message)
    assert.is_false(err.retryable)
  end)

  it("keeps a relative folder when the process changes its directory", function()
    local here = lfs.currentdir()
    assert(lfs.chdir(os.getenv "RUN_DIR"))
    local options = { worker = "a", folder = fresh.name "relative", application = "counter" }
    local a = leasing.open(options)
    assert.is_true(a:create("s1", { counter = 0, checkpoint = "5" }))
    assert(lfs.chdir "/")
    assert.equal("5", a:get("s1").checkpoint)
    assert(lfs.chdir(here))
    assert.is_truthy(lfs.attributes(os.getenv "RUN_DIR" .. "/" .. options.folder .. "/counter.json"))
  end)
end)

-- ---- what is removed by hand ----

-- What two processes do to one row, as often as they can: it is right when each change counts once.
local COUNT = [[
  local worker = ...
  worker:create("s1", { counter = 0, checkpoint = "0" })
  local done, deadline = 0, core.now() + 30
  while done < 100 and core.now() < deadline do
    local row, err = worker:get "s1"
    if row and worker:update("s1", { counter = row.counter }, { counter = row.counter + 1 }) then done = done + 1 end
    if row == nil then error(err.message) end
  end
  return done
]]

describe("the file store, when there was removed", function()
  for what, command in pairs {
    ["its folder"] = "rm -r '%s'", ["its lock"] = "rm '%s/counter.lock'",
    ["its table"] = "rm '%s/counter.json'",
    ["another's folder, by which it was replaced"] = "mv '%s' '%s.old' && mkdir '%s'",
  } do
    it(what .. ": changes of two processes exclude each other as before", function()
      local a = in_file "a"
      assert.is_true(a:create("s1", { counter = 0, checkpoint = "0" }))
      assert.equal(0, (a:get "s1").counter)
      assert(os.execute((command:gsub("%%s", leasing.folder))))
      local child = leasing.child([[
        local b = open "b"
        b:list()
        say "open"
        local count = load or loadstring
        say(assert(count("local core, worker = ..." .. arg[2]:gsub("local worker = ...", "", 1)))(core, b))
      ]], nil, COUNT)
      assert.equal("open", child:line())
      local count = (rawget(_G, "loadstring") or load)("local core, worker = ..."
        .. COUNT:gsub("local worker = %.%.%.", "", 1))
      local mine = count(require "kinesis.core", a)
      local theirs = tonumber((child:line()))
      child:wait()
      assert.same({ 100, 100 }, { mine, theirs })
      assert.equal(200, (a:get "s1").counter)
    end)
  end

  it("the file of a living worker: it is never seen as dead, and the file is made again", function()
    local a, b = in_file "a", in_file "b"
    assert(os.execute(("rm -r '%s/counter.workers'"):format(leasing.folder)))
    assert.is_true(a:is_alive "b")
    b:list()
    assert.is_truthy(lfs.attributes(leasing.folder .. "/counter.workers/b"))
    assert.is_true(a:is_alive "b")
  end)

  it("a folder that cannot be made again: that is fatal", function()
    local a = in_file "a"
    assert.is_true(a:create("s1", { counter = 0, checkpoint = "5" }))
    local above = leasing.folder:match "^(.*)/"
    assert(os.execute(("rm -r '%s' && touch '%s'"):format(above, above)))
    local rows, err = a:list()
    assert.is_nil(rows)
    assert.matches("leases cannot be kept in this folder: Not a directory; set the option `path`", err.message)
    assert.is_false(err.retryable)
    assert(os.remove(above))
    assert.same({}, (a:list()))
  end)
end)

-- ---- bad days ----

-- Another process that keeps the table locked until there is the file `sign`, or for 20 s.
local function lock_table(sign)
  local command = [[timeout 20 flock '%s/counter.lock' sh -c 'echo locked; until [ -e "$0" ]; do sleep 0.01; done' %s]]
  return fresh.spawn(command:format(leasing.folder, sign))
end

describe("the file store", function()
  it("goes on when a full disk has space again, and cannot be opened on a read-only one", function()
    if fresh.spawn("unshare -rm mount -t tmpfs none /mnt"):wait() ~= "" then
      pending "this user cannot mount"
      return
    end
    local folder = fresh.folder { ["child.lua"] = leasing.CHILD .. [[
      local function run(command) assert(os.execute(command:gsub("FOLDER", folder))) end
      run "mkdir -p FOLDER && mount -t tmpfs -o size=16k none FOLDER"
      local a = assert(open "a")
      assert(a:create("s1", { counter = 0, checkpoint = "5" }))
      run "dd if=/dev/zero of=FOLDER/filler bs=4k 2>/dev/null; test -s FOLDER/filler"
      local changed, err = a:update("s1", { counter = 0 }, { counter = 1 })
      say("full", tostring(changed), tostring(err.retryable), err.message)
      say("still", a:get("s1").counter, a:list().s1.checkpoint)
      run "rm FOLDER/filler"
      assert(a:update("s1", { counter = 0 }, { counter = 1 }))
      run "mkdir FOLDER.ro && mount --bind FOLDER FOLDER.ro && mount -o remount,ro,bind FOLDER.ro"
      folder = folder .. ".ro"
      local opened
      opened, err = open "b"
      say("opening", tostring(opened), tostring(err.retryable), err.message)
      folder = folder .. "/below/it"
      opened, err = open "b"
      say("opening", tostring(opened), tostring(err.retryable), err.message)
    ]] }
    local output = fresh.spawn(("unshare -rm %s %s/child.lua '%s'"):format(os.getenv "LUA", folder, leasing.folder))
      :wait()
    local table_of = leasing.folder .. "/counter.json: it cannot be written: "
    for _, line in ipairs {
      "full nil true " .. table_of .. "No space left on device; make space there\n",
      "still 0 5\n",
      "opening nil false " .. leasing.folder .. ".ro/counter.workers/b: it cannot be created and locked: Read-only "
        .. "file system; let this user read and write there, or set the option `path` to a folder of its own\n",
      "opening nil false " .. leasing.folder .. ".ro/below/it: leases cannot be kept in this folder: Read-only file "
        .. "system; let this user read and write there, or set the option `path` to a folder of its own\n",
    } do
      assert.is_truthy(output:find(line, 1, true), line .. "\nnot in:\n" .. output)
    end
  end)

  it("says that a file system without locks will not do, at opening and later", function()
    if os.getenv("BUILD_FLAVOUR"):find "san" then
      pending "a sanitizer does not let others be loaded before it"
      return
    end
    local library, sign = os.getenv "RUN_DIR" .. "/no_locks.so", os.getenv "RUN_DIR" .. "/no_locks"
    local command = [[gcc -fPIC -shared -o %s "$ROOT/spec/support/no_locks.c"]]
    local output, status = fresh.spawn(command:format(library)):wait()
    assert.equal(0, status, output)
    output = leasing.child([[
      local a = assert(open "a")
      assert(a:create("s1", { counter = 0, checkpoint = "5" }))
      assert(io.open(arg[2], "w")):close()
      local changed, err = a:update("s1", { counter = 0 }, { counter = 1 })
      say("later", tostring(changed), tostring(err.retryable), err.message)
      local opened
      opened, err = open "b"
      say("opening", tostring(opened), tostring(err.retryable), err.message)
      os.remove(arg[2])
    ]], { LD_PRELOAD = library, NO_LOCKS = sign }, sign):wait()
    local advice = "No locks available; its file system has no locks: set the option `path` to a folder on a local "
      .. "disk\n"
    for _, line in ipairs {
      "later nil false " .. leasing.folder .. "/counter.lock: it cannot be locked: " .. advice,
      "opening nil false " .. leasing.folder .. "/counter.workers/b: it cannot be created and locked: " .. advice,
    } do
      assert.is_truthy(output:find(line, 1, true), line .. "\nnot in:\n" .. output)
    end
  end)

  it("reads while another process has the table locked, and changes it afterwards", function()
    local a = in_file "a"
    assert.is_true(a:create("s1", { counter = 0, checkpoint = "5" }))
    local sign = leasing.folder .. "/go"
    local holder = lock_table(sign)
    assert.equal("locked", holder:line())
    local changed
    kinesis.run(function()
      changed = a:update("s1", { counter = 0 }, { counter = 1 })
    end, function()
      for _ = 1, 20 do
        assert.equal(0, a:get("s1").counter)
        assert.is_true(a:is_alive "a")
      end
      assert.is_nil(changed)
      leasing.write(sign, "")
      holder:wait()
    end)
    assert.is_truthy(changed)
    assert.equal(1, a:get("s1").counter)
  end)
end)


describe("the lock of the table that another process keeps", function()
  after_each(stepping.close_all)

  it("is tried after growing pauses, for 5 s, which are told then", function()
    local made = stepping.engine {}
    local leases = made:leases { owner = "a", folder = leasing.folder }
    local function told()
      local list = {}
      for event, number, outcome, answer in leases.next, leases do
        list[#list + 1] = { event, number, outcome, answer }
        leases:pass()
      end
      return list
    end
    leases:submit { number = 1, kind = "create", key = "s1", changes = '{"counter":0,"checkpoint":"5"}' }
    made:step()
    assert.equal("done", told()[1][3])
    local sign = leasing.folder .. "/go"
    local holder = lock_table(sign)
    assert.equal("locked", holder:line())
    leases:submit { number = 2, kind = "delete", key = "s1", counter = 0 }
    leases:submit { number = 3, kind = "list", key = "" }
    local pauses = {}
    for i = 1, 8 do
      local pause = made:step()
      pauses[i] = math.floor(pause * 1000 + 0.5)
      made:advance(pause)
    end
    assert.same({ 2, 4, 8, 16, 32, 50, 50, 50 }, pauses)
    assert.same({ { "done", 3, "done", '{"s1":{"counter":0,"checkpoint":"5"}}' } }, told())
    made:run(4.7)
    assert.same({}, told())
    made:run(0.2)
    assert.same({ { "done", 2, "failed", leasing.folder .. "/counter.lock: another process has had it locked for 5 s; "
      .. "is one of the workers stopped or hung?" } }, told())
    leasing.write(sign, "")
    holder:wait()
    leases:submit { number = 4, kind = "delete", key = "s1", counter = 0 }
    made:step()
    assert.equal("done", told()[1][3])
  end)
end)

it("leases that were taken one after the other are renewed together: the table is written once for all", function()
  local made = stepping.engine {}
  local leases = made:leases { owner = "a", folder = leasing.folder, failover = 9 }
  for i = 1, 10 do
    leases:submit { number = 2 * i, kind = "create", key = "s" .. i, changes = '{"counter":0,"checkpoint":"5"}' }
    leases:submit { number = 2 * i + 1, kind = "update", use = "take", key = "s" .. i, counter = 0,
      changes = '{"owner":"a","counter":1}' }
    made:run(0.2)
  end
  local changes, text, over = 0, nil, made:now() + 30
  while made:now() < over do
    made:advance(made:step())
    made:step()
    local now = leasing.read(leasing.folder .. "/counter.json")
    changes, text = changes + (text and text ~= now and 1 or 0), now
  end
  for counter in text:gmatch '"counter":(%d+)' do
    assert.is_true(tonumber(counter) >= 9, text)
  end
  assert.is_true(changes <= 40, changes .. " changes of the table in 30 s, for 10 renewals of each lease")
  stepping.close_all()
end)

-- ---- ends ----

describe("leases in a file whose worker was left", function()
  -- Where a process has the table locked: lets it go when the child has ended, or nearly so.
  local ENDS = {
    ["to the end of its process"] = "", ["to os.exit"] = "os.exit(3)",
    ["to os.exit with a closed state"] = "os.exit(3, true)",
    ["to an error"] = "error 'bad'", ["to os.exit in a coroutine"] = "coroutine.wrap(function() os.exit(3) end)()",
    ["to the collector"] = "a = nil; collectgarbage() collectgarbage() kinesis.sleep(0.5) "
      .. "os.execute('kill -9 ' .. pid())",
  }
  for what, last in pairs(ENDS) do
    it(what .. ": they are released, without a checkpoint, also when the table is locked for a moment", function()
      local b = in_file "b"
      for i = 1, 3 do
        assert.is_true(b:create("s" .. i, { counter = 0, checkpoint = "5" }))
      end
      local child = leasing.child([[
        local function pid() return io.open "/proc/self/stat":read "*n" end
        local a = open "a"
        for i = 1, 3 do assert(a:take("s" .. i, a:get("s" .. i))) end
        say "taken"
        -- the lock is another's from now on, for 0.3 s
        os.execute(("flock '%s/counter.lock' sh -c 'echo locked >&3; sleep 0.3' 3>'%s/sign' &"):format(folder, folder))
        repeat local file = io.open(folder .. "/sign") until file and file:read "*a" == "locked\n"
      ]] .. last)
      assert.equal("taken", child:line())
      child:wait()
      local rows = b:list()
      for i = 1, 3 do
        local row = rows["s" .. i]
        assert.is_nil(row.owner)
        assert.equal("5", row.checkpoint)
        assert.is_true(row.counter >= 2)
      end
      assert.is_nil(lfs.attributes(leasing.folder .. "/counter.workers/a"))
    end)
  end

  it("to the end of its process, while another one hangs with the table: it ends after exit_timeout", function()
    local b = in_file "b"
    assert.is_true(b:create("s1", { counter = 0, checkpoint = "5" }))
    local sign = leasing.folder .. "/go"
    local child = leasing.child [[
      local all = {}
      for i = 1, 3 do
        all[i] = assert(leases.open(client, { worker = "a" .. i, folder = folder, application = "counter", failover = 9,
          exit_timeout = 0.5 }))
        assert(all[i]:create("t" .. i, { counter = 0, checkpoint = "5" }))
        assert(all[i]:take("t" .. i, all[i]:get("t" .. i)))
      end
      say "taken"
      while not io.open(folder .. "/end") do kinesis.sleep(0.01) end
      say "over"
    ]]
    assert.equal("taken", child:line())
    local holder = lock_table(sign)
    assert.equal("locked", holder:line())
    leasing.write(leasing.folder .. "/end", "")
    assert.equal("over", child:line())
    child:wait()
    for i = 1, 3 do
      assert.equal("a" .. i, b:get("t" .. i).owner)
      assert.is_false(b:is_alive("a" .. i)) -- its file says so, and they are taken at once
    end
    leasing.write(sign, "")
    holder:wait()
  end)
end)

describe("a worker", function()
  local WORKER = [[
    local service, stream, how = arg[2], arg[3], arg[4]
    local own = assert(kinesis.client { endpoint = service, region = "us-east-1",
      credentials = { access_key_id = "AKIDEXAMPLE", secret_access_key = "secret" } })
    local worker = assert(own:worker(stream, "counter", { path = folder, poll_interval = 0.2 }))
    local count = 0
    if how == "exits in its handler" then
      worker:run(function(record)
        count = count + 1
        if count == 3 then say(record.sequence_number) os.exit(3) end
      end)
    elseif how == "is left to the collector in its loop" then
      local records = worker:records()
      records()
      records()
      say(records().sequence_number)
      records, worker = nil, nil
      if jit then jit.flush() end
      for _ = 1, 3 do collectgarbage() end
      local over = core.now() + 10
      while not io.open(folder .. "/over") and core.now() < over do kinesis.sleep(0.05) end
      os.execute("kill -9 " .. io.open "/proc/self/stat":read "*n")
    end
  ]]
  for _, how in ipairs { "exits in its handler", "is left to the collector in its loop" } do
    it("that " .. how .. " releases its leases, without a checkpoint of what is in hand", function()
      local client = fresh.client(os.getenv "KINESALITE")
      local stream = fresh.stream(client, 1)
      fresh.put_numbers(client, stream, 1, 5)
      local child = leasing.child(WORKER, nil, os.getenv "KINESALITE", stream, how)
      local in_hand = child:line()
      local b = in_file "b"
      local row = fresh.eventually(function()
        local _, found = next((b:list()))
        return found.owner == nil and found
      end)
      leasing.write(leasing.folder .. "/over", "")
      assert.is_true(row.checkpoint == "TRIM_HORIZON" or row.checkpoint < in_hand, row.checkpoint)
      child:wait()
      client:call("DeleteStream", { StreamName = stream })
      client:close()
    end)
  end

  it("that cannot use its folder is not made; one whose table cannot be used ends with the error", function()
    local client = fresh.client(os.getenv "KINESALITE")
    local stream = fresh.stream(client, 1)
    local worker, err = client:worker(stream, "counter", { path = "/proc/here" })
    assert.is_nil(worker)
    assert.equal("LeaseStore", err.code)
    assert.matches("^/proc/here: leases cannot be kept in this folder: .*; set the option `path`", err.message)
    local options = { path = leasing.folder, on_error = function(problem)
      error("told twice: " .. tostring(problem))
    end }
    worker = assert(client:worker(stream, "counter", options))
    leasing.write(leasing.folder .. "/counter.json", '{"version":2,"leases":{}}')
    local stopped
    stopped, err = worker:run(function() end)
    assert.is_nil(stopped)
    assert.equal("LeaseStore", err.code)
    assert.matches("later version", err.message)
    client:call("DeleteStream", { StreamName = stream })
    client:close()
  end)

  it("whose table becomes unusable while it runs ends with the error", function()
    local client = fresh.client(os.getenv "KINESALITE")
    local stream = fresh.stream(client, 1)
    -- for so long a release would be tried again
    local worker = assert(client:worker(stream, "counter", { path = leasing.folder, stop_timeout = 600 }))
    fresh.put_numbers(client, stream, 1, 1)
    local stopped, err = worker:run(function()
      leasing.write(leasing.folder .. "/counter.json", "hello")
    end)
    assert.is_nil(stopped)
    assert.matches("counter.json: it is no table of leases", err.message)
    client:call("DeleteStream", { StreamName = stream })
    client:close()
  end)
end)
