-- Flavours: lua5.4 luajit
local cjson = require("cjson").new()
local fresh = require "support.fresh"
local ini = require "kinesis.config.ini"
local profiles = require "kinesis.config.profile"
local settings = require "kinesis.config.settings"

local files = {}

local function file(text)
  local path = os.tmpname()
  files[#files + 1] = path
  local handle = assert(io.open(path, "wb"))
  handle:write(text)
  handle:close()
  return path
end

local ABSENT = "/nonexistent/kinesis-spec"

-- An environment of these variables only; the shared files are absent unless given.
local function environment(variables)
  return function(name)
    if variables[name] then
      return variables[name]
    elseif name == "AWS_CONFIG_FILE" or name == "AWS_SHARED_CREDENTIALS_FILE" then
      return ABSENT
    end
  end
end

-- An environment with this home folder only.
local function at_home(home)
  return function(name)
    return name == "HOME" and home or nil
  end
end

local function remove_files()
  for _, path in ipairs(files) do
    os.remove(path)
  end
  files = {}
end

describe("ini.parse", function()
  local function parsed(text)
    return assert(ini.parse(text, "file"))
  end

  it("reads sections and keys, trimmed and in lower case", function()
    assert.same({ default = { region = "us-east-1", a = "b=c", empty = "" }, x = {} },
      parsed("[default]\nRegion \t=  us-east-1 \t\na=b=c\nempty =\n[x]"))
    assert.same({}, parsed(""))
  end)

  it("reads a BOM, CRLF and a last line without its end", function()
    assert.same({ default = { a = "1", b = "2" } }, parsed("\239\187\191[default]\r\na = 1\r\nb = 2"))
  end)

  it("drops comments at a line's start and after whitespace", function()
    assert.same({ x = { a = "1", b = "2#3;4", c = "" } },
      parsed("# one\n; two\n[x] # three\n  # four\na = 1 # five ; six\nb = 2#3;4\nc = ; seven\n"))
    assert.same({ x = {} }, parsed("[x]; near"))
  end)

  it("normalises section names", function()
    for _, header in ipairs {
      "[profile x]", "[ profile  x ]", "[profile\t\"x\"]", "[profile 'x' ]", "  [profile x]",
    } do
      assert.same({ ["profile x"] = {} }, parsed(header))
    end
    assert.same({ ["profile a b"] = {} }, parsed('[profile "a b"]'))
  end)

  it("reads nested blocks", function()
    assert.same({ ["services s"] = { kinesis = { endpoint_url = "http://h", b = "" }, s3 = { a = "1" }, c = "2" } },
      parsed("[services s]\nkinesis =\n  Endpoint_URL = http://h # note\n\n  b =\ns3 = # note\n\ta=1\nc = 2"))
  end)

  it("joins continuation lines", function()
    assert.same({ x = { a = "1\n-2\nb = 3 # 4" } }, parsed("[x]\na = 1\n  -2\n  b = 3 # 4  \n"))
  end)

  it("reads a file that is indented as a whole", function()
    assert.same({ x = { a = "1", b = "2" }, y = {} }, parsed("[x]\n  a = 1\n  b = 2\n[y]\n"))
  end)

  it("merges sections of one name, where later keys win", function()
    assert.same({ x = { a = "3", b = "2" }, y = {} }, parsed("[x]\na = 1\nb = 2\n[y]\n[x]\nA = 3\n"))
  end)

  -- A line that cannot be read is reported for its own section, and the others are read.
  local malformed = {
    { "[x]\n[y\nb = 1\n", "y", "file:2: section name has no closing ']'" },
    { "[x]\n[profile  y # note\n", "profile y", "file:2: section name has no closing ']'" },
    { "\na = hunter2", "", "file:2: expected a '[section]' before the first key" },
    { "[x]\nhunter2", "x", "file:2: expected 'key = value', found no '='" },
    { "[x]\n  hunter2", "x", "file:2: expected 'key = value', found no '='" },
    { "[x]\na = 1\n[x]\n  hunter2", "x", "file:4: expected 'key = value', found no '='" },
    { "[x]\na = 1\nhunter2\n  b = 2\nhunter2", "x", "file:3: expected 'key = value', found no '='" },
    { "[x]\na =\n hunter2", "x", "file:3: expected 'key = value', found no '='" },
    { "[x]\na =\n hunter2: 3", "x", "file:3: expected 'key = value', found no '='" },
    { "[x]\r\n= hunter2", "x", "file:2: found a value without a key before its '='" },
    { "[x]\r\n: hunter2", "x", "file:2: found a value without a key before its '='" },
    { "[x]\na =\n = hunter2", "x", "file:3: found a value without a key before its '='" },
    { "[]\na = hunter2", "", "file:1: section has no name" },
    { "[", "", "file:1: section has no name" },
  }
  for _, case in ipairs(malformed) do
    it(("names file and line for %q, and reads the other sections"):format(case[1]), function()
      local sections, problems = ini.parse("[before]\nc = 3\n" .. case[1] .. "\n[behind]\nd = 4\n", "file")
      local moved = case[3]:gsub(":(%d+):", function(line)
        return (":%d:"):format(line + 2)
      end)
      -- a key before the first section has one here
      if case[1]:find "^\n" then
        sections, problems = ini.parse(case[1] .. "\n[before]\nc = 3\n[behind]\nd = 4\n", "file")
        moved = case[3]
      end
      assert.same({ [case[2]] = moved }, problems)
      assert.same({ { c = "3" }, { d = "4" } }, { sections.before, sections.behind })
      assert.is_nil(sections[""])
    end)
  end

  -- What botocore reads without an error, we read alike; comments behind values are the one difference.
  local ALIKE = {
    "[default] hunter2\na: 1\nb : 2 = 3\nc=4:5\n", '[profile "a]b"]\na=1', "[profile a]b]\na=1", "[x]y]\na=1",
    '[profile "a b" ]\na=1', "[profile 'a]b'] junk\na=1", "[profile x]]\na=1", "[x]\n[y] b = 1\nc=2",
    "[x]\na==1\nb:=2\nc=:3", "[x]\na:\n  b = 1\nc:\n  d: 2 = 3\n", "[x]\na=1\n  [y]\nb=1\n", "  [x]\na=1",
    "[x]\n  a=1\n  b:2\n", "[profile\tx]\na=1", "[profilex]\na=1", '[profile "a] #b"]\na=1',
    '[profile "a#b"] c\na=1', "[x]\nkey with space: http://h:80/\nb=a ]\n[y z]\n", "[sso-session s]]\na:b",
    "[services s]\nkinesis:\n  endpoint_url = http://h:1\n", "[profile a] # c\nb=1", "[x];c\na=1",
  }
  local REFUSED = { "[x]\na\n", "[x]\n= 1\n", "[x]\n: 1\n", "[]\na=1", "[x\na=1", "[x]\nc=\n e: 2\n", "a = 1" }

  it("reads what botocore reads, and refuses what botocore refuses", function()
    local texts = {}
    for _, list in ipairs { ALIKE, REFUSED } do
      for _, text in ipairs(list) do
        texts[#texts + 1] = text
      end
    end
    local output, status = fresh.python("oracles/config.py", nil, file(cjson.encode(texts))):wait()
    assert.equal(0, status, output)
    local theirs = cjson.decode(output)
    for i, text in ipairs(texts) do
      local ours, problems = ini.parse(text, "file")
      if i > #ALIKE then
        assert.equal(cjson.null, theirs[i], text)
        assert.is_not_nil(next(problems), text)
      else
        assert.same({}, problems, text)
        local count = 0
        for name, section in pairs(theirs[i].sections) do
          local profile = name:match "^profile%s+(.+)$"
          profile = profile and (profile:match '^"(.*)"%s*$' or profile:match "^'(.*)'%s*$" or profile)
          assert.same(section, ours[profile and "profile " .. profile or name], text)
          assert.same(profile and section, profile and theirs[i].profiles[profile], text)
          count = count + 1
        end
        for _ in pairs(ours) do
          count = count - 1
        end
        assert.equal(0, count, text)
      end
    end
    remove_files()
  end)
end)

describe("profile.load", function()
  after_each(remove_files)

  it("takes a missing file for an empty one and says where it looked", function()
    local profile = assert(profiles.load(nil, function(name)
      return name == "HOME" and "/nonexistent" or nil
    end))
    assert.equal("default", profile.name)
    assert.is_false(profile.found)
    assert.same({}, profile.keys)
    assert.same({
      "/nonexistent/.aws/config (no such file)", "/nonexistent/.aws/credentials (no such file)",
    }, profile.places)
  end)

  it("lets the credentials file win key by key", function()
    local config = file("[profile x]\na = config\nb = config\n[x]\nc = not a profile\n")
    local secrets = file("[x]\nb = credentials\n[profile x]\nd = not a profile\n")
    local profile = assert(profiles.load("x", environment {
      AWS_CONFIG_FILE = config, AWS_SHARED_CREDENTIALS_FILE = secrets,
    }))
    assert.is_true(profile.found)
    assert.same({ a = "config", b = "credentials" }, profile.keys)
    assert.same({ config, secrets }, profile.places)
  end)

  it("prefers [profile default] to [default]", function()
    local profile = assert(profiles.load("default", environment {
      AWS_CONFIG_FILE = file("[profile default]\na = 1\n[default]\na = 2\nb = 2\n"),
    }))
    assert.same({ a = "1" }, profile.keys)
  end)

  it("knows every character that a profile's name may have", function()
    local name = "some-thing:long/the_one%only.foo@bar+"
    assert.is_true(profiles.load(name, environment { AWS_CONFIG_FILE = file("[profile " .. name .. "]") }).found)
  end)

  it("reports a malformed profile of a file that a variable names, or of a name that was asked for", function()
    local path = file("[default]\nhunter2\n[x]\na = 1\n")
    local profile, message = profiles.load(nil, environment { AWS_SHARED_CREDENTIALS_FILE = path })
    assert.is_nil(profile)
    assert.matches(path .. ":2:", message, 1, true)
    assert.is_nil(message:find("hunter2", 1, true))
    local home = fresh.folder { [".aws/credentials"] = "[default]\nhunter2\n" }
    profile, message = profiles.load("default", at_home(home))
    assert.is_nil(profile)
    assert.matches(home .. "/.aws/credentials:2:", message, 1, true)
  end)

  it("reads the profiles beside a malformed one", function()
    local path = file("junk\n[default]\nhunter2\n[x]\na = 1\n[services s]\nhunter2\n[y\nb = 2\n")
    local profile = assert(profiles.load("x", environment { AWS_SHARED_CREDENTIALS_FILE = path }))
    assert.same({ a = "1" }, profile.keys)
    assert.is_nil(profile.problem)
    assert.matches(":1: expected a '[section]' before the first key", profile.places[2], 1, true)
    local _, message = profiles.load("y", environment { AWS_SHARED_CREDENTIALS_FILE = path })
    assert.matches(path .. ":8: section name has no closing ']'", message, 1, true)
  end)

  it("takes nothing from the malformed default profile of a default file", function()
    local home = fresh.folder {
      [".aws/config"] = "[default]\nregion = r\nhunter2\n", [".aws/credentials"] = "[default]\nb = 2\n",
    }
    local profile = assert(profiles.load(nil, at_home(home)))
    assert.same({ b = "2" }, profile.keys)
    assert.matches(home .. "/.aws/config:3:", profile.problem, 1, true)
  end)

  it("reports a file that cannot be read when a variable names it", function()
    for _, variable in ipairs { "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE" } do
      local profile, message = profiles.load(nil, environment { [variable] = "/" })
      assert.is_nil(profile)
      assert.matches("cannot read /: Is a directory", message, 1, true)
    end
  end)

  it("passes over a default file that cannot be read, and says so", function()
    local home = fresh.folder { [".aws/config/x"] = "", [".aws/credentials"] = "[default]\na = 1\n" }
    local profile = assert(profiles.load(nil, at_home(home)))
    assert.same({ a = "1" }, profile.keys)
    assert.equal(home .. "/.aws/config (cannot be read: Is a directory)", profile.places[1])
    home = fresh.folder { [".aws/config"] = "[default]\na = 1\n", [".aws/credentials/x"] = "" }
    profile = assert(profiles.load(nil, at_home(home)))
    assert.same({ a = "1" }, profile.keys)
    assert.equal(home .. "/.aws/credentials (cannot be read: Is a directory)", profile.places[2])
  end)

  it("looks for linked sections in the config file, whatever file names them", function()
    local profile = assert(profiles.load(nil, environment {
      AWS_CONFIG_FILE = file("[sso-session s]\na: 1\n[services v]\nkinesis =\n  endpoint_url = http://h\n"),
      AWS_SHARED_CREDENTIALS_FILE = file("[default]\nsso_session = s\nservices = v\n[sso-session s]\na = wrong\n"),
    }))
    assert.same({ name = "s", keys = { a = "1" } }, profile.sso_session)
    assert.same({ name = "v", keys = { kinesis = { endpoint_url = "http://h" } } }, profile.services)
  end)

  it("says of a linked section that it is absent or malformed, without minding it", function()
    local config = file("[default]\nsso_session = s\nservices = gone\n[sso-session s]\nhunter2\n")
    local profile = assert(profiles.load(nil, environment { AWS_CONFIG_FILE = config }))
    assert.same({ name = "gone", problem = "[services gone], which is not in " .. config }, profile.services)
    local problem = "[sso-session s], which cannot be read: %s:5: expected 'key = value', found no '='"
    assert.same({ name = "s", problem = problem:format(config) }, profile.sso_session)
  end)

  it("finds the home folder in passwd when HOME is unset or empty", function()
    local entry = io.popen("getent passwd $(id -u)"):read "*l"
    local home = entry:match "^[^:]*:[^:]*:[^:]*:[^:]*:[^:]*:([^:]*)"
    for _, value in ipairs { false, "", " " } do
      local function env(name)
        return name == "HOME" and value or nil
      end
      assert.equal(home .. "/.aws/config", profiles.expand("~/.aws/config", env))
    end
    assert.equal("/h/x", profiles.expand("~/x", at_home "/h"))
    assert.equal("/~/x", profiles.expand("/~/x", at_home "/h"))
  end)
end)

describe("settings.resolve", function()
  after_each(remove_files)

  local function resolve(options, variables)
    return settings.resolve(options, environment(variables))
  end

  local function failure(options, variables)
    local resolved, err = resolve(options, variables)
    assert.is_nil(resolved)
    assert.is_nil(err.message:find("\n", 1, true))
    return err
  end

  it("takes the region from the option, the environment, then the profile", function()
    local variables = {
      AWS_REGION = "eu-west-1", AWS_DEFAULT_REGION = "eu-west-2",
      AWS_CONFIG_FILE = file("[default]\nregion = eu-west-3"),
    }
    assert.equal("eu-west-4", resolve({ region = "eu-west-4" }, variables).region)
    assert.equal("eu-west-1", resolve({}, variables).region)
    variables.AWS_REGION = ""
    assert.equal("eu-west-2", resolve({}, variables).region)
    variables.AWS_DEFAULT_REGION = " "
    assert.equal("eu-west-3", resolve({}, variables).region)
  end)

  it("says everywhere it looked when there is no region", function()
    local err = failure({}, {})
    assert.equal("NoRegion", err.code)
    for _, place in ipairs { "option `region`", "AWS_REGION", "AWS_DEFAULT_REGION", 'profile "default"', ABSENT } do
      assert.matches(place, err.message, 1, true)
    end
  end)

  it("names the origin of a region that is none", function()
    local err = failure({}, { AWS_REGION = "us_east_1" })
    assert.equal("BadConfig", err.code)
    assert.matches("bad region from AWS_REGION: 'us_east_1'", err.message, 1, true)
  end)

  it("picks the profile by the option, then AWS_PROFILE", function()
    local config = file("[profile a]\nregion=r-a\n[profile b]\nregion=r-b\n")
    local variables = { AWS_PROFILE = "a", AWS_CONFIG_FILE = config }
    assert.equal("r-a", resolve({}, variables).region)
    assert.equal("r-b", resolve({ profile = "b" }, variables).profile.keys.region)
  end)

  it("refuses a named profile that is in no file", function()
    local err = failure({ profile = "nosuch", region = "r" }, {})
    assert.equal("BadConfig", err.code)
    assert.matches('profile "nosuch" (from the option `profile`) is in none of the files read: ' .. ABSENT,
      err.message, 1, true)
    assert.matches("from AWS_PROFILE", failure({}, { AWS_PROFILE = "nosuch" }).message, 1, true)
  end)

  it("goes on without what cannot be read when nothing is needed from it", function()
    local home = fresh.folder { [".aws/config/x"] = "", [".aws/credentials"] = "[default]\nhunter2\n" }
    local variables = { HOME = home }
    local function env(name)
      return variables[name]
    end
    local found, err = settings.resolve({}, env)
    assert.is_nil(found)
    assert.equal("NoRegion", err.code)
    assert.matches(home .. "/.aws/config (cannot be read: Is a directory)", err.message, 1, true)
    assert.matches("the profile cannot be read: " .. home .. "/.aws/credentials:2:", err.message, 1, true)
    variables.AWS_PROFILE = "x"
    found, err = settings.resolve({ region = "r" }, env)
    assert.is_nil(found)
    assert.equal("BadConfig", err.code)
    assert.matches("is in none of the files read: " .. home .. "/.aws/config (cannot be read", err.message, 1, true)
  end)

  it("passes on what is wrong with a shared file", function()
    local err = failure({ region = "r" }, { AWS_CONFIG_FILE = file("[default") })
    assert.equal("BadConfig", err.code)
    assert.matches(":1: section name has no closing", err.message, 1, true)
  end)

  describe("finds the endpoint", function()
    local variables
    local config = "[default]\nregion = us-east-1\nendpoint_url = http://profile\nservices = s\n"
      .. "[services s]\nkinesis =\n  endpoint_url = http://services\n"

    before_each(function()
      variables = {
        AWS_ENDPOINT_URL_KINESIS = "http://kinesis", AWS_ENDPOINT_URL = "http://any", AWS_CONFIG_FILE = file(config),
      }
    end)

    it("in the option, the environment, then the profile", function()
      assert.equal("http://option", resolve({ endpoint = "http://option" }, variables).endpoint)
      local found = resolve({}, variables)
      assert.equal("http://kinesis", found.endpoint)
      assert.equal("AWS_ENDPOINT_URL_KINESIS", found.origins.endpoint)
      variables.AWS_ENDPOINT_URL_KINESIS = nil
      assert.equal("http://any", resolve({}, variables).endpoint)
      variables.AWS_ENDPOINT_URL = ""
      assert.equal("http://services", resolve({}, variables).endpoint)
      variables.AWS_CONFIG_FILE = file("[default]\nendpoint_url = http://profile\nregion = us-east-1")
      assert.equal("http://profile", resolve({}, variables).endpoint)
    end)

    it("by the rules when configured ones are ignored", function()
      variables.AWS_IGNORE_CONFIGURED_ENDPOINT_URLS = "true"
      local found = resolve({}, variables)
      assert.equal("https://kinesis.us-east-1.amazonaws.com", found.endpoint)
      assert.equal("rules", found.origins.endpoint)
      assert.equal("http://option", resolve({ endpoint = "http://option" }, variables).endpoint)
      variables.AWS_IGNORE_CONFIGURED_ENDPOINT_URLS = "no"
      assert.equal("http://kinesis", resolve({}, variables).endpoint)
    end)

    it("and names the origin of a bad one", function()
      variables.AWS_ENDPOINT_URL_KINESIS = "http://user:hunter2@h"
      local err = failure({}, variables)
      assert.matches("bad endpoint from AWS_ENDPOINT_URL_KINESIS: it may not hold a user name", err.message, 1, true)
      assert.is_nil(err.message:find("hunter2", 1, true))
    end)

    it("and misses a services section that is not there", function()
      local err = failure({}, { AWS_CONFIG_FILE = file("[default]\nregion = r\nservices = gone\n") })
      assert.matches("names the section [services gone], which is not in /tmp/", err.message, 1, true)
    end)
  end)

  it("takes the CA bundle from the option, the environment, then the profile", function()
    local variables = { AWS_CA_BUNDLE = "/env.pem", AWS_CONFIG_FILE = file("[default]\nca_bundle = /profile.pem\n") }
    assert.equal("/option.pem", resolve({ region = "r", ca_bundle = "/option.pem" }, variables).ca_bundle)
    assert.equal("/env.pem", resolve({ region = "r" }, variables).ca_bundle)
    variables.AWS_CA_BUNDLE = ""
    assert.equal("/profile.pem", resolve({ region = "r" }, variables).ca_bundle)
    assert.is_nil(resolve({ region = "r" }, {}).ca_bundle)
  end)
end)
