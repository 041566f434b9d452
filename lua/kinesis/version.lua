--- What User-Agent and `kinesis.version` say.
return "0.1.0"
