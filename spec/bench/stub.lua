-- Starts the stub service for what measures against it.
local M = {}

--- Gives its ports, plain and TLS, and a handle; handle:close() ends it. `milliseconds`: how long every answer
--- waits; `prefix`: of the command, such as taskset.
function M.start(milliseconds, prefix)
  -- it tells its ports by a file, and ends with its standard input, which this pipe holds open
  local ports, certs = os.tmpname(), "build/certs"
  local handle = assert(io.popen(("exec %s build/bench/stub %s/server.pem %s/server.key %d > %s"):format(
    prefix or "", certs, certs, milliseconds or 0, ports), "w"))
  local plain, tls
  for _ = 1, 100 do
    for line in io.lines(ports) do
      plain, tls = line:match "^(%d+) (%d+)$"
    end
    if plain then
      break
    end
    os.execute "sleep 0.05"
  end
  os.remove(ports)
  return assert(tonumber(plain), "the stub does not tell its ports"), tonumber(tls), handle
end

return M
