-- The leases of workers that do not run: what specs of stores share.
local fresh = require "support.fresh"
local leases = require "kinesis.worker.leases"

local M = { FAILOVER = 1.5 }

local opened

--- For before_each: M.client, and M.folder, which is not there yet.
function M.begin()
  M.client, M.folder, opened = fresh.client "http://127.0.0.1:1", fresh.folder {} .. "/state/kinesis", {}
end

--- For after_each.
function M.finish()
  for _, each in ipairs(opened) do
    each:close()
  end
  M.client:close()
end

--- Opens leases, which are closed at the end of the test; nil and the error when they cannot be.
function M.try(options)
  options.failover, options.exit_timeout = options.failover or M.FAILOVER, options.exit_timeout or 5
  local made, err = leases.open(M.client, options)
  opened[#opened + 1] = made
  return made, err
end

function M.open(options)
  return assert(M.try(options))
end

--- The leases of a worker in M.folder.
function M.in_file(worker)
  return M.open { worker = worker, folder = M.folder, application = "counter" }
end

function M.read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

function M.write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

--- What a child begins with: `open(worker)`, the leases of a worker in the folder that is its first argument.
M.CHILD = [[
  local core, kinesis, leases = require "kinesis.core", require "kinesis", require "kinesis.worker.leases"
  local client = assert(kinesis.client { endpoint = "http://127.0.0.1:1", region = "us-east-1",
    credentials = { access_key_id = "AKIDEXAMPLE", secret_access_key = "secret" } })
  local folder = arg[1]
  local function open(worker)
    return leases.open(client, { worker = worker, folder = folder, application = "counter", failover = 1.5,
      exit_timeout = 5 })
  end
  local function say(...) io.stdout:write(table.concat({ ... }, " "), "\n") io.stdout:flush() end
]]

--- Starts a child; `...` are arguments behind the folder.
function M.child(source, env, ...)
  return fresh.lua(M.CHILD .. source, env, M.folder, ...)
end

return M
