-- Starts the stub service for what measures against it.
local M = {}

--- Gives its ports, plain and TLS, a handle, and its process id; handle:close() ends it. `milliseconds`: how long
--- every answer waits; `prefix`: of the command, such as taskset.
function M.start(milliseconds, prefix)
  -- it tells its ports by a file, and ends with its standard input, which this pipe holds open
  local ports, certs = os.tmpname(), "build/certs"
  local handle = assert(io.popen(("exec > %s; echo $$; exec %s build/bench/stub %s/server.pem %s/server.key %d"):format(
    ports, prefix or "", certs, certs, milliseconds or 0), "w"))
  local plain, tls, pid
  for _ = 1, 100 do
    for line in io.lines(ports) do
      pid = pid or line:match "^%d+$"
      plain, tls = line:match "^(%d+) (%d+)$"
    end
    if plain then
      break
    end
    os.execute "sleep 0.05"
  end
  os.remove(ports)
  return assert(tonumber(plain), "the stub does not tell its ports"), tonumber(tls), handle, pid
end

return M
