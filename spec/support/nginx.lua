--- Starts an nginx for one spec, with the library's LuaJIT build, in its own folder.
local fresh = require "support.fresh"
local secrets = require "support.secrets"

local M = {}

local ROOT = os.getenv "ROOT"

local Nginx = {}
Nginx.__index = Nginx

local running = {} -- nginx -> true

local MAIN = [[
load_module /usr/lib/nginx/modules/ndk_http_module.so;
load_module /usr/lib/nginx/modules/ngx_http_lua_module.so;
%s
%s
daemon off;
%s
pid nginx.pid;
error_log error.log info;
events { worker_connections %d; }
http {
  access_log off;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  lua_package_path "%s/lua/?.lua;%s/lua/?/init.lua;%s/spec/?.lua;;";
  lua_package_cpath "%s/build/luajit/?.so;;";
  %s
}
]]

local function run(command)
  return (fresh.spawn(command):wait())
end

local function write(path, text)
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
end

--- A free port of 127.0.0.1, chosen by the kernel.
function M.free_port()
  return run([[node -e '
    const server = require("net").createServer().listen(0, "127.0.0.1", () => {
      console.log(server.address().port); server.close(); })']]):match "%d+"
end

-- nginx passes only named variables to its workers. Workers must not call the instance metadata service.
local function environment(env)
  local all, lines = { AWS_EC2_METADATA_DISABLED = "true" }, {}
  for name, value in pairs(env or {}) do
    all[name] = value
  end
  for name in pairs(all) do
    lines[#lines + 1] = ("env %s;"):format(name)
  end
  return all, table.concat(lines, "\n")
end

--- Waits until none of these workers, a set of pids, is left, and there are others.
function M.await_leaving(master, old)
  fresh.eventually(function()
    local now = fresh.children(master)
    for pid in pairs(old) do
      if now[pid] then
        return false
      end
    end
    return next(now)
  end)
end

--- Starts one, and waits until it answers. `http`: the content of its block http, with @PORT@ for its port;
--- `env`: the environment of its workers; `connections`: how many a worker takes; `main`: its first
--- directives, of which worker_processes must be one.
function M.start(http, env, connections, main)
  local all, names = environment(env)
  local port = M.free_port()
  local folder = run("mktemp -d"):match "%S+"
  local user = run("id -u"):match "^0\n" and "user root;" or ""
  write(folder .. "/nginx.conf", MAIN:format(user, names, main or "worker_processes 1;", connections or 1024, ROOT,
    ROOT, ROOT, ROOT, (http:gsub("@PORT@", port))))
  local child = fresh.spawn(("exec sh -c 'echo $$; exec nginx -p %s -e error.log -c nginx.conf'"):format(folder), all)
  local nginx = setmetatable({ child = child, url = "http://127.0.0.1:" .. port, folder = folder }, Nginx)
  nginx.pid = child:line()
  running[nginx] = true
  fresh.eventually(function()
    return next(fresh.children(nginx.pid)) and nginx:get("/") ~= "000"
  end)
  return nginx
end

--- The status of a GET as text, "000" without an answer; and the body.
function Nginx:get(path)
  local body, status = run(("curl -s -m 20 -w '\\n%%{http_code}' '%s%s'"):format(self.url, path)):match "^(.*)\n(%d+)$"
  return status, body
end

function Nginx:log()
  local file = assert(io.open(self.folder .. "/error.log"))
  local text = file:read "*a"
  file:close()
  return text
end

local function stop(nginx, signal)
  running[nginx] = nil
  run(("kill -%s %s"):format(signal, nginx.pid))
  nginx.child:wait()
  local log = secrets.heard(nginx:log())
  run("rm -r " .. nginx.folder)
  return log
end

--- Sends QUIT, and waits until nginx and its workers have ended. Returns its whole log.
function Nginx:quit()
  return stop(self, "QUIT")
end

--- After each test: ends what a failed one left. The interpreter would wait for it at its own end.
function M.stop_all()
  for nginx in pairs(running) do
    stop(nginx, "TERM")
  end
end

return M
