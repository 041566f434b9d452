// A worker of the Kinesis Client Library 2 or 3 (the same source) for scenes.lua: says on stdout what it is given, as worker.lua does. Its settings
// are variables of the environment: NAME, STREAM, APPLICATION, KINESIS and DYNAMODB (URLs), FAILOVER (seconds), EVERY (seconds between two
// checkpoints of a shard), LIMIT (records, then a checkpoint behind the last one, and the end as by a kill), STOP (a file that stops it),
// VERSION (of the client, KCL 3: its way of sharing leases), FROM (TRIM_HORIZON or LATEST).
import java.io.File;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.awscore.client.builder.AwsAsyncClientBuilder;
import software.amazon.awssdk.awscore.client.builder.AwsClientBuilder;
import software.amazon.awssdk.http.Protocol;
import software.amazon.awssdk.http.nio.netty.NettyNioAsyncHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.cloudwatch.CloudWatchAsyncClient;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClient;
import software.amazon.awssdk.services.kinesis.KinesisAsyncClient;
import software.amazon.kinesis.common.ConfigsBuilder;
import software.amazon.kinesis.common.InitialPositionInStream;
import software.amazon.kinesis.common.InitialPositionInStreamExtended;
import software.amazon.kinesis.coordinator.CoordinatorConfig;
import software.amazon.kinesis.coordinator.Scheduler;
import software.amazon.kinesis.lifecycle.events.InitializationInput;
import software.amazon.kinesis.lifecycle.events.LeaseLostInput;
import software.amazon.kinesis.lifecycle.events.ProcessRecordsInput;
import software.amazon.kinesis.lifecycle.events.ShardEndedInput;
import software.amazon.kinesis.lifecycle.events.ShutdownRequestedInput;
import software.amazon.kinesis.metrics.NullMetricsFactory;
import software.amazon.kinesis.processor.RecordProcessorCheckpointer;
import software.amazon.kinesis.processor.ShardRecordProcessor;
import software.amazon.kinesis.processor.SingleStreamTracker;
import software.amazon.kinesis.retrieval.KinesisClientRecord;
import software.amazon.kinesis.retrieval.polling.PollingConfig;

public class Kcl {
  static final String NAME = System.getenv("NAME");
  static final long EVERY = Long.parseLong(System.getenv("EVERY")) * 1000;
  static long left = Long.parseLong(System.getenv("LIMIT"));

  static synchronized void note(Object... words) {
    StringBuilder line = new StringBuilder(NAME + " " + System.currentTimeMillis() / 1000.0);
    for (Object word : words) line.append(' ').append(word);
    System.out.println(line);
  }

  static class Processor implements ShardRecordProcessor {
    String shard;
    long written = System.currentTimeMillis();

    public void initialize(InitializationInput in) {
      shard = in.shardId();
      note("taken", shard, in.extendedSequenceNumber().sequenceNumber(), in.extendedSequenceNumber().subSequenceNumber());
    }

    void checkpoint(RecordProcessorCheckpointer checkpointer) {
      written = System.currentTimeMillis();
      try {
        checkpointer.checkpoint();
      } catch (Exception e) {
        note("trouble", shard, e);
      }
    }

    void process(KinesisClientRecord record, RecordProcessorCheckpointer checkpointer) throws Exception {
      synchronized (Kcl.class) {
        note("record", shard, record.sequenceNumber(), record.subSequenceNumber(), StandardCharsets.UTF_8.decode(record.data()));
        if (--left == 0) {
          checkpointer.checkpoint(record.sequenceNumber(), record.subSequenceNumber());
          note("over", "limit");
          Runtime.getRuntime().halt(0);
        }
      }
    }

    public void processRecords(ProcessRecordsInput in) {
      try {
        for (KinesisClientRecord record : in.records()) process(record, in.checkpointer());
      } catch (Exception e) {
        note("trouble", shard, e);
      }
      if (System.currentTimeMillis() - written >= EVERY) checkpoint(in.checkpointer());
    }

    public void leaseLost(LeaseLostInput in) { note("lost", shard); }

    public void shardEnded(ShardEndedInput in) {
      checkpoint(in.checkpointer());
      note("end", shard);
    }

    public void shutdownRequested(ShutdownRequestedInput in) { checkpoint(in.checkpointer()); }
  }

  static <B extends AwsClientBuilder<B, C> & AwsAsyncClientBuilder<B, C>, C> C client(B builder, String endpoint) {
    return builder.region(Region.US_EAST_1).endpointOverride(URI.create(endpoint))
        .credentialsProvider(StaticCredentialsProvider.create(AwsBasicCredentials.create(NAME, "secret")))
        .httpClientBuilder(NettyNioAsyncHttpClient.builder().protocol(Protocol.HTTP1_1).maxConcurrency(100)).build();
  }

  // KCL 2 does not have this setting.
  static void setVersion(CoordinatorConfig config, String version) throws Exception {
    for (var method : config.getClass().getMethods())
      if (method.getName().equals("clientVersionConfig") && method.getParameterCount() == 1)
        for (Object value : method.getParameterTypes()[0].getEnumConstants())
          if (value.toString().equals(version)) method.invoke(config, value);
  }

  public static void main(String[] arguments) throws Exception {
    KinesisAsyncClient kinesis = client(KinesisAsyncClient.builder(), System.getenv("KINESIS"));
    DynamoDbAsyncClient dynamo = client(DynamoDbAsyncClient.builder(), System.getenv("DYNAMODB"));
    CloudWatchAsyncClient nowhere = client(CloudWatchAsyncClient.builder(), "http://127.0.0.1:9");
    String stream = System.getenv("STREAM");
    var tracker = new SingleStreamTracker(stream, InitialPositionInStreamExtended.newInitialPosition(InitialPositionInStream.valueOf(System.getenv("FROM"))));
    var configs = new ConfigsBuilder(tracker, System.getenv("APPLICATION"), kinesis, dynamo, nowhere, NAME, Processor::new);
    var coordinator = configs.coordinatorConfig();
    setVersion(coordinator, System.getenv("VERSION"));
    var scheduler = new Scheduler(configs.checkpointConfig(), coordinator,
        configs.leaseManagementConfig().failoverTimeMillis(Long.parseLong(System.getenv("FAILOVER")) * 1000)
            .shardSyncIntervalMillis(Long.parseLong(System.getenv("SYNC"))),
        configs.lifecycleConfig(), configs.metricsConfig().metricsFactory(new NullMetricsFactory()),
        configs.processorConfig().callProcessRecordsEvenForEmptyRecordList(true),
        configs.retrievalConfig().retrievalSpecificConfig(new PollingConfig(stream, kinesis)));
    Thread run = new Thread(scheduler);
    note("begins", NAME, ProcessHandle.current().pid());
    run.start();
    while (run.isAlive() && !new File(System.getenv("STOP")).exists()) run.join(50);
    try {
      if (run.isAlive()) scheduler.startGracefulShutdown().get(20, TimeUnit.SECONDS);
      note("over");
    } catch (TimeoutException e) {
      note("over", "not all was shut down in 20 s");
    }
    Runtime.getRuntime().halt(0);
  }
}
