-- make felt: what a user feels. How soon a script has put its first record, how soon a record that was put is read,
-- and whether a far service is kept busy.
local core = require "kinesis.core"
local kinesis = require "kinesis"
local start_stub = require("bench.stub").start

local OPTIONS = {
  region = "us-east-1",
  credentials = { access_key_id = "AKIDEXAMPLE", secret_access_key = "secret" },
}

local function client_of(endpoint)
  OPTIONS.endpoint = endpoint
  return assert(kinesis.client(OPTIONS))
end

local function percentile(values, p)
  table.sort(values)
  return values[math.max(1, math.ceil(#values * p))]
end

-- ---- a script's first put ----

local FIRST = [[lua5.4 -e 'local b = os.clock(); local kinesis = require "kinesis"; local r = os.clock(); ]]
  .. [[assert(kinesis.put("s", "data", "key")); local p = os.clock(); print(b * 1e3, (r - b) * 1e3, (p - r) * 1e3)']]

-- `wrap`: a format for the whole command.
local function first_put(name, endpoint, ca_bundle, wrap)
  local command = ("AWS_ENDPOINT_URL_KINESIS=%s AWS_REGION=us-east-1 AWS_ACCESS_KEY_ID=AKIDEXAMPLE "
    .. "AWS_SECRET_ACCESS_KEY=secret %s %s"):format(endpoint, ca_bundle and "AWS_CA_BUNDLE=" .. ca_bundle or "", FIRST)
  local totals, requires, puts = {}, {}, {}
  for i = 1, 21 do
    local pipe = assert(io.popen(wrap and wrap:format(command) or command))
    local lua, req, put = pipe:read("n", "n", "n")
    pipe:close()
    totals[i], requires[i], puts[i] = lua + req + put, req, put
  end
  print(("first put, %-30s %5.1f ms CPU, whole process (require %.1f, put %.1f); most %.1f"):format(
    name, percentile(totals, 0.5), percentile(requires, 0.5), percentile(puts, 0.5), percentile(totals, 1)))
end

-- The system's folder of authorities, with the stub's among them, in a namespace of its own.
local function with_system_folder(f)
  local pipe = assert(io.popen([[DIR=$(mktemp -d) && cp -a /etc/ssl/certs/. $DIR && cp build/certs/ca.pem $DIR ]]
    .. [[&& openssl rehash $DIR 2>&1 >/dev/null | grep -v warning >&2; echo $DIR]]))
  local folder = pipe:read "l"
  pipe:close()
  f(([[unshare -rm sh -c "mount --bind %s /etc/ssl/certs; $(cat <<'END'
%%s
END
)"]]):format(folder))
  os.execute("rm -r " .. folder)
end

-- ---- at the tip ----

local function tip(poll_interval, puts)
  local client, stream = client_of(assert(os.getenv "KINESALITE")), "tip-" .. poll_interval
  assert(client:call("CreateStream", { StreamName = stream, ShardCount = 1 }))
  repeat
    kinesis.sleep(0.1)
    local summary = assert(client:call("DescribeStreamSummary", { StreamName = stream }))
  until summary.StreamDescriptionSummary.StreamStatus == "ACTIVE"
  local reader = client:shards(stream):records { from = "latest", poll_interval = poll_interval, limit = puts }
  local delays = {}
  kinesis.run(function()
    for _ = 1, puts do
      kinesis.sleep(poll_interval * (0.25 + 1.5 * math.random())) -- at any time between two polls
      assert(client:put(stream, ("%.6f"):format(core.now()), "key"))
    end
  end, function()
    for record in reader do
      delays[#delays + 1] = core.now() - tonumber(record.data)
    end
  end)
  client:close()
  print(("put to records(), polling every %.1f s %7.0f ms p50, %.0f ms p90, of %d"):format(
    poll_interval, percentile(delays, 0.5) * 1e3, percentile(delays, 0.9) * 1e3, #delays))
end

-- ---- a far service ----

local function far(milliseconds, size, parallel)
  local port, _, stub = start_stub(milliseconds)
  local client, list = client_of("http://127.0.0.1:" .. port), {}
  local data = ("x"):rep(size)
  for i = 1, 80000000 // size do
    list[i] = { data = data, partition_key = ("k%015d"):format(i) }
  end
  assert(select(2, client:put_many("far", { list[1] })) == 0)
  local began, cpu = core.now(), os.clock()
  local _, failed = client:put_many("far", list, { parallel = parallel })
  assert(failed == 0)
  local seconds = core.now() - began
  print(("put_many, %d ms away, %5d B a record, parallel = %-3d %5.0f MB/s, %.2f of a processor"):format(
    milliseconds, size, parallel, #list * size / seconds / 1e6, (os.clock() - cpu) / seconds))
  client:close()
  stub:close()
end

local plain, tls, stub = start_stub()
first_put("plain:", "http://127.0.0.1:" .. plain)
first_put("TLS, one authority:", "https://localhost:" .. tls, "build/certs/ca.pem")
with_system_folder(function(wrap)
  first_put("TLS, the system's authorities:", "https://localhost:" .. tls, nil, wrap)
end)
stub:close()
tip(0.2, 101)
tip(1, 21)
for _, parallel in ipairs { 1, 4, 16 } do
  far(25, 1024, parallel)
end
far(25, 100, 16)
