-- The list of environment variables: whoever looks at one has declared it, and whoever goes by the list has all of it.
-- Flavours: lua5.4 luajit
local fresh = require "support.fresh"
local variables = require "kinesis.config.variables"

local ROOT = os.getenv "ROOT"

local function output_of(command, ...)
  local pipe = assert(io.popen(command:format(...)))
  local text = pipe:read "*a"
  pipe:close()
  return text
end

-- The names of those for which `wanted(variable)` is true.
local function names(wanted)
  local list = {}
  for _, variable in ipairs(variables.list) do
    if wanted(variable) then
      list[#list + 1] = variable.name
    end
  end
  table.sort(list)
  return list
end

local declared = {}
for _, variable in ipairs(variables.list) do
  declared[variable.name] = true
end

describe("an environment variable", function()
  it("that is not declared cannot be looked at", function()
    local good, message = pcall(variables.read, os.getenv, "AWS_NEWEST")
    assert.is_false(good)
    assert.matches("AWS_NEWEST is not declared", message, 1, true)
  end)

  it("is declared once, with a purpose, and with what a sealed shell does about it", function()
    local seals = { unset = true, endpoint = true, proxy = true, loopback = true, keep = true }
    local seen = {}
    for _, variable in ipairs(variables.list) do
      assert.is_nil(seen[variable.name], variable.name)
      seen[variable.name] = true
      assert.is_truthy(variable.purpose:find "%a", variable.name)
      assert.is_true(seals[variable.seal] or variable.seal:find "^set %S+$" ~= nil
        or variable.seal:find "^local %S+$" ~= nil, variable.name)
    end
  end)

  it("is looked at through the list in Lua, and declared where C looks at it", function()
    assert.equal("", output_of("grep -rnE 'getenv *[(\"{'\\''[]' '%s/lua'", ROOT))
    local text = output_of("grep -rhoE 'getenv *\\(\"?[A-Za-z_]*' '%s/csrc'", ROOT)
    local count = 0
    for name in text:gmatch 'getenv%("([%w_]+)' do
      assert.is_true(declared[name], name)
      count = count + 1
    end
    assert.equal(count, select(2, text:gsub("getenv", "")))
    assert.is_true(count >= 3)
  end)
end)

-- Where the interpreter is a sanitizer's or valgrind's, nothing else is preloaded.
if not os.getenv("BUILD_FLAVOUR"):find "san" and not os.getenv("LUA"):find " " then
  it("libcurl asks for no variable that is not declared, and for the proxies' that are", function()
    local library, asked = os.tmpname(), os.tmpname()
    local built = fresh.spawn(("gcc -shared -fPIC -o %s '%s/spec/support/asked.c' -ldl"):format(library, ROOT))
    assert.equal("", (built:wait()))
    local child = fresh.lua([[
      for i = 1, 2 do
        local client = require("kinesis").client { region = "us-east-1", endpoint = arg[i], ca_bundle = arg[3],
          credentials = { access_key_id = "AKID", secret_access_key = "secret" } }
        print(client:call("ListStreams", {}) ~= nil)
        client:close()
      end
    ]], { LD_PRELOAD = library, ASKED = asked }, os.getenv "KINESIS_LOCAL", os.getenv "KINESIS_LOCAL_TLS",
      os.getenv "CERTS" .. "/ca.pem")
    assert.equal("true\ntrue\n", (child:wait()))
    local seen = {}
    for name in io.lines(asked) do
      assert.is_true(declared[name], name .. " is not declared")
      seen[name] = true
    end
    os.remove(library)
    os.remove(asked)
    for _, name in ipairs { "http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy",
      "NO_PROXY" } do
      assert.is_true(seen[name], name .. " is not asked for")
    end
  end)
end

describe("seal.sh", function()
  local function named(argument)
    local text = output_of("'%s/spec/support/seal.sh' %s", ROOT, argument)
    local list = {}
    for line in text:gmatch "[^\n]+" do
      for name in (line:match "^export ([%w_]+)=" or line:match "^unset (.*)$"):gmatch "%S+" do
        list[#list + 1] = name
      end
    end
    table.sort(list)
    return list
  end

  it("knows every variable", function()
    assert.same(names(function(variable)
      return variable.seal ~= "keep" and variable.seal ~= "proxy"
    end), named "http://127.0.0.1:9")
    assert.same(names(function(variable)
      return variable.seal ~= "keep"
    end), named "")
  end)

  it("adds this machine to no_proxy once", function()
    local function line(environment)
      return output_of("env -u no_proxy -u NO_PROXY %s '%s/spec/support/seal.sh' http://127.0.0.1:9 | grep no_proxy",
        environment, ROOT)
    end
    assert.equal("export no_proxy='127.0.0.1,localhost'\n", line "")
    assert.equal("export no_proxy='a.b,127.0.0.1,localhost'\n", line "NO_PROXY=a.b")
    assert.equal("export no_proxy='c,127.0.0.1,localhost'\n", line "NO_PROXY=a.b no_proxy=c")
    assert.equal("export no_proxy='c,127.0.0.1,localhost'\n", line "no_proxy=c,127.0.0.1,localhost")
    assert.equal("export no_proxy='*'\n", line "'no_proxy=*'")
    assert.equal([[export no_proxy='it'\''s,127.0.0.1,localhost']] .. "\n", line [["no_proxy=it's"]])
  end)
end)

it("the example's nginx hands every variable on that the library or libcurl looks at", function()
  local file = assert(io.open(ROOT .. "/examples/openresty/nginx.conf"))
  local text = "\n" .. file:read "*a"
  file:close()
  local handed = {}
  for name in text:gmatch "%f[%w]env ([%w_]+);" do
    handed[name] = true
  end
  for name in pairs(declared) do
    if name ~= "SSLKEYLOGFILE" and name ~= "OPENSSL_CONF" then
      assert.is_true(handed[name], name)
    end
  end
end)
