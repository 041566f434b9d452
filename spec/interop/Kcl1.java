// A worker of the Kinesis Client Library 1, see Kcl.java.
import com.amazonaws.auth.AWSStaticCredentialsProvider;
import com.amazonaws.auth.BasicAWSCredentials;
import com.amazonaws.client.builder.AwsClientBuilder;
import com.amazonaws.services.cloudwatch.AmazonCloudWatchClientBuilder;
import com.amazonaws.services.dynamodbv2.AmazonDynamoDBClientBuilder;
import com.amazonaws.services.kinesis.AmazonKinesisClientBuilder;
import com.amazonaws.services.kinesis.clientlibrary.interfaces.IRecordProcessorCheckpointer;
import com.amazonaws.services.kinesis.clientlibrary.interfaces.v2.IRecordProcessor;
import com.amazonaws.services.kinesis.clientlibrary.interfaces.v2.IShutdownNotificationAware;
import com.amazonaws.services.kinesis.clientlibrary.lib.worker.InitialPositionInStream;
import com.amazonaws.services.kinesis.clientlibrary.lib.worker.KinesisClientLibConfiguration;
import com.amazonaws.services.kinesis.clientlibrary.lib.worker.ShutdownReason;
import com.amazonaws.services.kinesis.clientlibrary.lib.worker.Worker;
import com.amazonaws.services.kinesis.clientlibrary.types.InitializationInput;
import com.amazonaws.services.kinesis.clientlibrary.types.ProcessRecordsInput;
import com.amazonaws.services.kinesis.clientlibrary.types.ShutdownInput;
import com.amazonaws.services.kinesis.clientlibrary.types.UserRecord;
import com.amazonaws.services.kinesis.metrics.impl.NullMetricsFactory;
import com.amazonaws.services.kinesis.model.Record;
import java.io.File;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

@SuppressWarnings("deprecation")
public class Kcl1 {
  static final String NAME = System.getenv("NAME");
  static final long EVERY = Long.parseLong(System.getenv("EVERY")) * 1000;
  static long left = Long.parseLong(System.getenv("LIMIT"));

  static synchronized void note(Object... words) {
    StringBuilder line = new StringBuilder(NAME + " " + System.currentTimeMillis() / 1000.0);
    for (Object word : words) line.append(' ').append(word);
    System.out.println(line);
  }

  static class Processor implements IRecordProcessor, IShutdownNotificationAware {
    String shard;
    long written = System.currentTimeMillis();

    public void initialize(InitializationInput in) {
      shard = in.getShardId();
      note("taken", shard, in.getExtendedSequenceNumber().getSequenceNumber(), in.getExtendedSequenceNumber().getSubSequenceNumber());
    }

    void checkpoint(IRecordProcessorCheckpointer checkpointer) {
      written = System.currentTimeMillis();
      try {
        checkpointer.checkpoint();
      } catch (Exception e) {
        note("trouble", shard, e);
      }
    }

    void process(UserRecord record, IRecordProcessorCheckpointer checkpointer) throws Exception {
      synchronized (Kcl1.class) {
        note("record", shard, record.getSequenceNumber(), record.getSubSequenceNumber(), StandardCharsets.UTF_8.decode(record.getData()));
        if (--left == 0) {
          checkpointer.checkpoint(record.getSequenceNumber(), record.getSubSequenceNumber());
          note("over", "limit");
          Runtime.getRuntime().halt(0);
        }
      }
    }

    public void processRecords(ProcessRecordsInput in) {
      try {
        for (Record record : in.getRecords()) process((UserRecord) record, in.getCheckpointer());
      } catch (Exception e) {
        note("trouble", shard, e);
      }
      if (System.currentTimeMillis() - written >= EVERY) checkpoint(in.getCheckpointer());
    }

    public void shutdown(ShutdownInput in) {
      boolean ended = in.getShutdownReason() == ShutdownReason.TERMINATE;
      if (ended) checkpoint(in.getCheckpointer());
      note(ended ? "end" : "lost", shard);
    }

    public void shutdownRequested(IRecordProcessorCheckpointer checkpointer) { checkpoint(checkpointer); }
  }

  static <B extends AwsClientBuilder<B, C>, C> C client(B builder, String endpoint) {
    return builder.withEndpointConfiguration(new AwsClientBuilder.EndpointConfiguration(endpoint, "us-east-1"))
        .withCredentials(new AWSStaticCredentialsProvider(new BasicAWSCredentials(NAME, "secret"))).build();
  }

  public static void main(String[] arguments) throws Exception {
    var config = new KinesisClientLibConfiguration(System.getenv("APPLICATION"), System.getenv("STREAM"),
        new AWSStaticCredentialsProvider(new BasicAWSCredentials(NAME, "secret")), NAME)
        .withRegionName("us-east-1").withInitialPositionInStream(InitialPositionInStream.valueOf(System.getenv("FROM")))
        .withFailoverTimeMillis(Long.parseLong(System.getenv("FAILOVER")) * 1000)
        .withShardSyncIntervalMillis(Long.parseLong(System.getenv("SYNC"))).withCallProcessRecordsEvenForEmptyRecordList(true);
    var worker = new Worker.Builder().config(config).recordProcessorFactory(Processor::new)
        .kinesisClient(client(AmazonKinesisClientBuilder.standard(), System.getenv("KINESIS")))
        .dynamoDBClient(client(AmazonDynamoDBClientBuilder.standard(), System.getenv("DYNAMODB")))
        .cloudWatchClient(client(AmazonCloudWatchClientBuilder.standard(), "http://127.0.0.1:9"))
        .metricsFactory(new NullMetricsFactory()).build();
    Thread run = new Thread(worker);
    note("begins", NAME, ProcessHandle.current().pid());
    run.start();
    while (run.isAlive() && !new File(System.getenv("STOP")).exists()) run.join(50);
    try {
      if (run.isAlive()) worker.startGracefulShutdown().get(20, TimeUnit.SECONDS);
      note("over");
    } catch (TimeoutException e) {
      note("over", "not all was shut down in 20 s");
    }
    Runtime.getRuntime().halt(0);
  }
}
