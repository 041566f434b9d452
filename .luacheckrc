-- What luacheck looks at is said in the Makefile (lint); this says how strictly.
std = "max"
max_line_length = 120
unused_args = false
files["lua/kinesis/wait"] = { std = "max+ngx_lua" }
files["lua/kinesis/openresty.lua"] = { std = "max+ngx_lua" }
files["lua/kinesis/meta/option_types.lua"] = { max_line_length = false }
files["spec"] = { std = "max+busted" }
files["spec/support/nginx"] = { std = "max+ngx_lua" }
files["spec/soak/clicks_app.lua"] = { std = "max+ngx_lua" }
files["spec/soak/post.lua"] = { globals = { "wrk", "delay" } }
files["examples/openresty"] = { std = "max+ngx_lua" }
files["rockspec"] = { std = "+rockspec" }
exclude_files = { "build" }
