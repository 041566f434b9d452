-- The functions that specs run in nginx with kinesis.openresty. The query has the arguments: stream=, data=, key=.
local cjson = require "cjson"
local host = require "kinesis.openresty"

local M = {}

local notes = ngx.shared.notes

local function say(answer)
  answer.pid = ngx.worker.pid()
  ngx.header.content_type = "application/json"
  ngx.print(cjson.encode(answer))
end

function M.on_failure(record, err)
  notes:rpush("failures", record.data .. ": " .. err.code)
end

function M.click()
  local asked = ngx.req.get_uri_args()
  local taken, err = host.producer(asked.stream):put(asked.data, asked.key)
  if not taken then
    ngx.status = 503
  end
  say { taken = taken, err = err and err.code }
end

function M.put(data)
  local asked = ngx.req.get_uri_args()
  assert(host.producer(asked.stream):put(data .. " of " .. asked.data, "key"))
end

-- A timer that reads until the worker exits, and notes what it has read.
function M.read()
  local stream, pid = ngx.var.arg_stream, ngx.worker.pid()
  assert(ngx.timer.at(0, function()
    for record in host.client():shards(stream):records { poll_interval = 0.2 } do
      notes:rpush("read " .. stream, record.data)
    end
    notes:rpush("ended", pid)
  end))
  say {}
end

-- Waits for records that never arrive.
function M.wait()
  host.client():shards(ngx.var.arg_stream):records({ from = "latest" }):next()
end

-- A request kills its coroutine that waits for an answer.
function M.kill()
  local thread = ngx.thread.spawn(M.wait)
  ngx.sleep(0.1)
  assert(ngx.thread.kill(thread))
  say {}
end

-- Returns the errors of wrong options.
function M.setup()
  local problems, count = {}, { streams = "s", application = "a", handler = say }
  local wrong = {
    { producer = {} }, { client = { regio = "x" } }, { metrics = "nowhere" }, {},
    { workers = { { streams = "s", application = "a" } } },
    { workers = { { streams = "s", application = "a/b", handler = say } } },
    { workers = { { streams = "s", application = "a", handler = say, options = { form = "latest" } } } },
    { workers = { count, count } },
  }
  for i, options in ipairs(wrong) do
    local _, err = pcall(function()
      host.setup(options)
    end)
    problems[i] = err
  end
  say { problems = problems }
end

local function all(name)
  local list = {}
  for i = 1, notes:llen(name) do
    list[i] = notes:lpop(name)
    notes:rpush(name, list[i])
  end
  return list
end

function M.notes()
  say { list = all(ngx.unescape_uri(ngx.var.arg_name)) }
end

return M
