--- The version, for the User-Agent, `kinesis.version`, `kinesis._VERSION` and the name of the release's rockspec.
return "0.1.0"
