-- The types of the API's members. https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Types.html
--
-- A scalar is a table of its kind and bounds. A structure is a string of members: "Name" is of the type of the same
-- name, "Name Type" of another; "!" says that it must be there. "[Type]" is a list, "{Key=Value}" a map.

local function text(least, most)
  return { kind = "text", least = least, most = most }
end

local function integer(least, most)
  return { kind = "integer", least = least, most = most }
end

local function one_of(...)
  return { kind = "text", values = { ... } }
end

local function list(item, least, most)
  return { kind = "list", item = item, least = least, most = most }
end

local ARN = text(1, 2048)
local COUNT = integer(0)
local LIMIT = integer(1, 10000)
local POSITION = one_of("AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER", "TRIM_HORIZON", "LATEST", "AT_TIMESTAMP")

return {
  -- ---- scalars ----
  Text = text(0),
  Switch = { kind = "boolean" },
  Time = { kind = "time" }, -- seconds since 1970
  Data = { kind = "blob", least = 0, most = 10485760 },

  ARN = ARN, StreamARN = ARN, ConsumerARN = ARN, ResourceARN = ARN, ChannelARN = ARN,
  StreamName = text(1, 128), StreamId = text(1, 24), ShardId = text(1, 128), ConsumerName = text(1, 128),
  ChannelName = text(1, 128), ShardIterator = text(1, 512), NextToken = text(1, 1048576), KeyId = text(1, 2048),
  HashKey = { kind = "text", decimal = true }, SequenceNumber = { kind = "text", decimal = true },
  PartitionKey = text(1, 256), TagKey = text(1, 128), TagValue = text(0, 256),

  Count = COUNT, Positive = integer(1), Limit = LIMIT, TagLimit = integer(1, 50), Hours = integer(24, 8760),
  RecordKiB = integer(1024, 10240),

  EncryptionType = one_of("NONE", "KMS"), StreamMode = one_of("PROVISIONED", "ON_DEMAND"),
  ScalingType = one_of "UNIFORM_SCALING", ShardIteratorType = POSITION,
  ShardFilterType = one_of("AFTER_SHARD_ID", "AT_TRIM_HORIZON", "FROM_TRIM_HORIZON", "AT_LATEST", "AT_TIMESTAMP",
    "FROM_TIMESTAMP"),
  MetricsName = one_of("IncomingBytes", "IncomingRecords", "OutgoingBytes", "OutgoingRecords",
    "WriteProvisionedThroughputExceeded", "ReadProvisionedThroughputExceeded", "IteratorAgeMilliseconds", "ALL"),
  Commitment = one_of("ENABLED", "DISABLED"),

  -- ---- lists and maps ----
  Metrics = list("MetricsName", 1, 7),
  TagKeys = list("TagKey", 1, 50),
  Tags = { kind = "map", key = "TagKey", item = "TagValue", least = 1, most = 200 },
  Entries = list("PutRecordsRequestEntry", 1, 500),

  -- ---- structures ----
  ChildShard = "ShardId!, ParentShards! [ShardId], HashKeyRange!",
  Consumer = "ConsumerName!, ConsumerARN!, ConsumerStatus! Text, ConsumerCreationTimestamp! Time",
  ConsumerDescription =
    "ConsumerName!, ConsumerARN!, ConsumerStatus! Text, ConsumerCreationTimestamp! Time, StreamARN!",
  EnhancedMetrics = "ShardLevelMetrics [Text]",
  HashKeyRange = "StartingHashKey! HashKey, EndingHashKey! HashKey",
  AccountCommitment = "Status! Text, StartedAt Time, EndedAt Time, EarliestAllowedEndAt Time",
  MinimumThroughputBillingCommitment = "Status! Commitment",
  PutRecordsRequestEntry = "Data!, PartitionKey, ExplicitHashKey HashKey",
  PutRecordsResultEntry = "ShardId, SequenceNumber, ErrorCode Text, ErrorMessage Text",
  Record = "SequenceNumber!, Data!, PartitionKey, ApproximateArrivalTimestamp Time, EncryptionType",
  SequenceNumberRange = "StartingSequenceNumber! SequenceNumber, EndingSequenceNumber SequenceNumber",
  Shard = "ShardId!, HashKeyRange!, SequenceNumberRange!, ParentShardId ShardId, AdjacentParentShardId ShardId",
  ShardFilter = "Type! ShardFilterType, ShardId, Timestamp Time",
  StartingPosition = "Type! ShardIteratorType, SequenceNumber, Timestamp Time",
  StreamDescription = "StreamName!, StreamARN!, StreamStatus! Text, StreamModeDetails, Shards! [Shard], "
    .. "HasMoreShards! Switch, RetentionPeriodHours! Hours, StreamCreationTimestamp! Time, "
    .. "EnhancedMonitoring! [EnhancedMetrics], EncryptionType, KeyId",
  StreamDescriptionSummary = "StreamName!, StreamARN!, StreamId, StreamStatus! Text, StreamModeDetails, "
    .. "RetentionPeriodHours! Hours, StreamCreationTimestamp! Time, EnhancedMonitoring! [EnhancedMetrics], "
    .. "EncryptionType, KeyId, OpenShardCount! Count, ConsumerCount Count, ChannelCount Count, WarmThroughput, "
    .. "MaxRecordSizeInKiB RecordKiB, RecordDistributionStrategy Text",
  StreamModeDetails = "StreamMode!",
  StreamSummary = "StreamName!, StreamARN!, StreamStatus! Text, StreamModeDetails, StreamCreationTimestamp Time",
  Tag = "Key! TagKey, Value TagValue",
  WarmThroughput = "TargetMiBps Count, CurrentMiBps Count",

  -- ---- channels ----
  ChannelDescription = "ChannelName!, ChannelARN!, ChannelId! Text, ChannelStatus! Text, ChannelStatusReason Text, "
    .. "ChannelCreationTimestamp! Time, ServiceExecutionRoleARN! ARN, "
    .. "StreamConfigurationList! [ChannelStreamDescription], LoggingConfiguration, S3DestinationConfiguration, "
    .. "S3TablesDestinationConfiguration, EncryptionConfiguration",
  ChannelStreamConfiguration = "StreamARN!, RecordConfiguration!",
  ChannelStreamDescription = "StreamARN!, StreamCreationTimestamp! Time, RecordConfiguration!",
  ChannelStreamIdentifier = "StreamARN!, StreamCreationTimestamp! Time",
  ChannelSummary = "ChannelName!, ChannelARN!, ChannelId! Text, ChannelStatus! Text, ChannelStatusReason Text, "
    .. "ChannelCreationTimestamp! Time, ChannelDestinationType! Text, Streams! [ChannelStreamIdentifier]",
  CloudWatchLogs = "Enabled! Switch, LogGroupName Text, LogStreamName Text",
  DataFreshness = "DataFreshnessInSeconds! Count",
  DeadLetterQueueS3Configuration = "BucketARN! ARN, ExpectedBucketOwner! Text, ErrorOutputPrefix Text",
  EncryptionConfiguration = "EncryptionType!, KeyId!",
  LoggingConfiguration = "CloudWatchLogs!",
  PartitionField = "Transform! Text, SourceName! Text",
  PartitionSpec = "PartitionFields! [PartitionField]",
  RecordConfiguration = "RecordFormatType! Text, GSRSchemaARN ARN",
  S3DestinationConfiguration =
    "StorageConfiguration! S3StorageConfiguration, DataFreshnessInSeconds Count, DeadLetterQueueS3Configuration",
  S3StorageConfiguration = "BucketARN! ARN, ExpectedBucketOwner! Text, CompressionType! Text, OutputKeyTemplate Text, "
    .. "StorageClass Text",
  S3TablesConfiguration = "TableBucketARN! ARN, Namespace! Text, TableName! Text, CompressionType! Text, PartitionSpec",
  S3TablesDestinationConfiguration = "DeadLetterQueueS3Configuration!, "
    .. "S3TablesConfigurationList! [S3TablesConfiguration], DataFreshnessInSeconds Count",
  StreamFilter = "StreamARN!, StreamCreationTimestamp Time",
}
