/* stub: a service of canned answers, for measuring clients. One thread a connection, HTTP/1.1,
 * plain and TLS, on loopback.
 *
 *   stub CERTIFICATE KEY [MILLISECONDS]    prints "PLAIN_PORT TLS_PORT" and serves until its
 *                                          standard input ends; every answer waits so long
 *
 * PutRecords gets a result for each PartitionKey of its body. A stream named
 * "page-RECORDSxBYTES[-SHARDS]" has so many shards, and every page of them is full and the same. Of
 * a stream named "keys-SHARDS" each result names the shard that the record's hash key belongs to.
 * A stream named "packed-…" is as "page-…", with its records in aggregates.
 * A stream named "paced-RECORDSxBYTES-SHARDS" is as "page-…", but its shards are always behind, and
 * each has the limits of the service, five calls and two megabytes a second: a call beyond them is
 * throttled. TellCalls, which the service does not have, answers what all of them were asked since
 * the last time.
 */
#define _GNU_SOURCE 1
#include <arpa/inet.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/ssl.h>

enum { HEAD_MAX = 16 << 10, RECORDS_MAX = 10000, PAGES_MAX = 16, SHARDS_MAX = 10000, PACKED = 250 };

/* The streams whose names begin so have canned pages. */
static const char page_kind[] = "page", packed_kind[] = "packed", paced_kind[] = "paced";

typedef struct text {
  char *at;
  size_t len, room;
} text;

typedef struct connection {
  int fd;
  SSL *tls; /* NULL: plain */
} connection;

static unsigned delay;

static void *allocate(void *old, size_t size) {
  void *memory = realloc(old, size);
  if (!memory)
    abort();
  return memory;
}

static void add_bytes(text *out, const void *bytes, size_t len) {
  if (out->len + len > out->room) {
    out->room = 2 * (out->len + len);
    out->at = allocate(out->at, out->room);
  }
  memcpy(out->at + out->len, bytes, len);
  out->len += len;
}

#define ADD(out, ...)                                                                              \
  do {                                                                                             \
    char piece[512];                                                                               \
    add_bytes((out), piece, (size_t)snprintf(piece, sizeof piece, __VA_ARGS__));                   \
  } while (0)

static void add_sequence_number(text *out, int i) {
  ADD(out, "\"SequenceNumber\":\"49590338271490256608559692538361571095921%015d\"", i);
}

/* ---- answers: a head, and the body ---- */

static text with_head(text body) {
  text out = {0};
  ADD(&out,
      "HTTP/1.1 200 OK\r\nx-amzn-RequestId: c5a3f1e2-7c1b-4d5e-9f00-0123456789ab\r\n"
      "Content-Type: application/x-amz-json-1.1\r\nContent-Length: %zu\r\n\r\n",
      body.len);
  add_bytes(&out, body.at, body.len);
  free(body.at);
  return out;
}

static text put_record_answer(void) {
  text body = {0};
  ADD(&body, "{\"ShardId\":\"shardId-000000000000\",");
  add_sequence_number(&body, 1);
  ADD(&body, "}");
  return with_head(body);
}

static text put_records_answer(int count) {
  text body = {0};
  ADD(&body, "{\"FailedRecordCount\":0,\"Records\":[");
  for (int i = 0; i < count; i++) {
    ADD(&body, "%s{\"ShardId\":\"shardId-%012d\",", i ? "," : "", i % 4);
    add_sequence_number(&body, i);
    ADD(&body, "}");
  }
  ADD(&body, "]}");
  return with_head(body);
}

/* ---- aggregates in the format of the KPL ---- */

static void add_varint(text *out, unsigned value) {
  unsigned char byte;
  do {
    byte = (unsigned char)((value & 127) | (value > 127 ? 128 : 0));
    add_bytes(out, &byte, 1);
  } while (value >>= 7);
}

static void add_field(text *out, unsigned char tag, const void *bytes, size_t len) {
  add_bytes(out, &tag, 1);
  add_varint(out, (unsigned)len);
  add_bytes(out, bytes, len);
}

/* `count` records of `bytes` each, each with a key of its own; the first is number `first`. */
static text aggregate(const unsigned char *data, int bytes, int first, int count) {
  text message = {0}, out = {0};
  unsigned char digest[16];
  for (int i = 0; i < count; i++) {
    char key[24];
    int len = snprintf(key, sizeof key, "k%015d", first + i);
    add_field(&message, 0x0a, key, (size_t)len);
  }
  for (int i = 0; i < count; i++) {
    text record = {0};
    add_bytes(&record, "\x08", 1);
    add_varint(&record, (unsigned)i);
    add_field(&record, 0x1a, data + (size_t)i * (size_t)bytes, (size_t)bytes);
    add_field(&message, 0x1a, record.at, record.len);
    free(record.at);
  }
  EVP_Digest(message.at, message.len, digest, NULL, EVP_md5(), NULL);
  add_bytes(&out, "\xf3\x89\x9a\xc2", 4);
  add_bytes(&out, message.at, message.len);
  add_bytes(&out, digest, sizeof digest);
  free(message.at);
  return out;
}

/* A list of records, and the end of its answer; `packed` into aggregates of so many, 0: not. */
static text page_records(int records, int bytes, int packed) {
  text body = {0};
  const int step = packed ? packed : 1;
  unsigned char *data = allocate(NULL, (size_t)bytes * (size_t)step + 8);
  unsigned char *base64 = allocate(NULL, ((size_t)bytes + 64) * (size_t)step * 2 + 64);
  unsigned long long state = 88172645463325252ULL;
  ADD(&body, "\"Records\":[");
  for (int i = 0; i < records; i += step) {
    int count = records - i < step ? records - i : step;
    for (int at = 0; at < bytes * count; at += 8) {
      state ^= state << 13, state ^= state >> 7, state ^= state << 17;
      memcpy(data + at, &state, 8);
    }
    text made = {0};
    if (packed)
      made = aggregate(data, bytes, i, count);
    else
      add_bytes(&made, data, (size_t)bytes);
    int len = EVP_EncodeBlock(base64, (unsigned char *)made.at, (int)made.len);
    free(made.at);
    ADD(&body, "%s{\"ApproximateArrivalTimestamp\":1.795377600%03dE9,\"Data\":\"", i ? "," : "",
        i % 1000);
    add_bytes(&body, base64, (size_t)len);
    ADD(&body, "\",\"PartitionKey\":\"k%015d\",", i);
    add_sequence_number(&body, i);
    ADD(&body, "}");
  }
  ADD(&body, "]}");
  free(data);
  free(base64);
  return body;
}

static text page_answer(const char *kind, int records, int bytes, int packed) {
  text body = {0}, list = page_records(records, bytes, packed);
  ADD(&body, "{\"MillisBehindLatest\":0,\"NextShardIterator\":\"%s:%dx%d\",", kind, records, bytes);
  add_bytes(&body, list.at, list.len);
  free(list.at);
  return with_head(body);
}

/* Canned once, kept for ever. */
static const text *put_records_canned(int count) {
  static text canned[RECORDS_MAX + 1];
  static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  count = count > RECORDS_MAX ? RECORDS_MAX : count;
  pthread_mutex_lock(&lock);
  if (!canned[count].at)
    canned[count] = put_records_answer(count);
  pthread_mutex_unlock(&lock);
  return &canned[count];
}

/* Of a stream of that kind. */
static const text *page_canned(const char *kind, int records, int bytes) {
  static struct {
    const char *kind;
    int records, bytes;
    text answer;
  } pages[PAGES_MAX];
  static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  int i = 0;
  pthread_mutex_lock(&lock);
  while (i < PAGES_MAX - 1 && pages[i].kind &&
         (pages[i].kind != kind || pages[i].records != records || pages[i].bytes != bytes))
    i++;
  if (!pages[i].kind) {
    pages[i].kind = kind;
    pages[i].records = records;
    pages[i].bytes = bytes;
    pages[i].answer = kind == paced_kind
                          ? page_records(records, bytes, 0)
                          : page_answer(kind, records, bytes, kind == packed_kind ? PACKED : 0);
  }
  pthread_mutex_unlock(&lock);
  return &pages[i].answer;
}

static void add_decimal(text *out, unsigned __int128 value) {
  char digits[40], *at = digits + sizeof digits;
  do
    *--at = (char)('0' + (int)(value % 10));
  while ((value /= 10) > 0);
  add_bytes(out, at, (size_t)(digits + sizeof digits - at));
}

static text shards_answer(int shards) {
  const unsigned __int128 all = ~(unsigned __int128)0, part = all / (unsigned)shards;
  text body = {0};
  ADD(&body, "{\"Shards\":[");
  for (int i = 0; i < shards; i++) {
    unsigned __int128 start = part * (unsigned)i;
    ADD(&body, "%s{\"ShardId\":\"shardId-%012d\",\"HashKeyRange\":{\"StartingHashKey\":\"",
        i ? "," : "", i);
    add_decimal(&body, start);
    ADD(&body, "\",\"EndingHashKey\":\"");
    add_decimal(&body, i + 1 == shards ? all : start + part - 1);
    ADD(&body, "\"},\"SequenceNumberRange\":{\"StartingSequenceNumber\":\"1\"}}");
  }
  ADD(&body, "]}");
  return with_head(body);
}

/* ---- results that name the right shard ---- */

static unsigned __int128 hash_of(const char *key, size_t len) {
  unsigned char digest[16];
  unsigned __int128 hash = 0;
  EVP_Digest(key, len, digest, NULL, EVP_md5(), NULL);
  for (int i = 0; i < 16; i++)
    hash = hash << 8 | digest[i];
  return hash;
}

static unsigned __int128 read_decimal(const char *at) {
  unsigned __int128 value = 0;
  for (; *at >= '0' && *at <= '9'; at++)
    value = value * 10 + (unsigned)(*at - '0');
  return value;
}

/* Keys without escapes, each behind its data, and in front of the hash key that counts instead. */
static text keyed_answer(const char *body, int shards) {
  static const char name[] = "\"PartitionKey\":\"", other[] = "\",\"ExplicitHashKey\":\"";
  const unsigned __int128 part = ~(unsigned __int128)0 / (unsigned)shards;
  text out = {0};
  int i = 0;
  ADD(&out, "{\"FailedRecordCount\":0,\"Records\":[");
  for (const char *at = body; (at = strstr(at, name)); i++) {
    at += sizeof name - 1;
    size_t len = strcspn(at, "\"");
    unsigned __int128 hash = strncmp(at + len, other, sizeof other - 1) == 0
                                 ? read_decimal(at + len + sizeof other - 1)
                                 : hash_of(at, len);
    unsigned __int128 shard = hash / part;
    ADD(&out, "%s{\"ShardId\":\"shardId-%012d\",", i ? "," : "",
        (int)(shard < (unsigned)shards ? shard : (unsigned)shards - 1));
    add_sequence_number(&out, i);
    ADD(&out, "}");
  }
  ADD(&out, "]}");
  return with_head(out);
}

static text summary_answer(int shards) {
  text body = {0};
  ADD(&body, "{\"StreamDescriptionSummary\":{\"OpenShardCount\":%d}}", shards);
  return with_head(body);
}

/* ---- shards with limits ---- */

static const double calls_per_second = 5, bytes_per_second = 2e6;

/* A token bucket for each limit; one call may take more bytes than there are. */
static struct {
  double calls, bytes, at;
  int asked;
} paced[SHARDS_MAX];
static struct { int asked, throttled; } all_paced;
static pthread_mutex_t pace_lock = PTHREAD_MUTEX_INITIALIZER;

static double now(void) {
  struct timespec at;
  clock_gettime(CLOCK_MONOTONIC, &at);
  return (double)at.tv_sec + (double)at.tv_nsec * 1e-9;
}

static double fill(double tokens, double rate, double seconds) {
  tokens += rate * seconds;
  return tokens < rate ? tokens : rate;
}

/* Whether the shard's limits allow a call that returns so many bytes. */
static bool take(int shard, double bytes) {
  pthread_mutex_lock(&pace_lock);
  double at = now(), since = paced[shard].at > 0 ? at - paced[shard].at : 1;
  paced[shard].calls = fill(paced[shard].calls, calls_per_second, since);
  paced[shard].bytes = fill(paced[shard].bytes, bytes_per_second, since);
  paced[shard].at = at;
  bool good = paced[shard].calls >= 1 && paced[shard].bytes > 0;
  if (good) {
    paced[shard].calls--;
    paced[shard].bytes -= bytes;
  }
  paced[shard].asked++;
  all_paced.asked++;
  all_paced.throttled += !good;
  pthread_mutex_unlock(&pace_lock);
  return good;
}

/* The calls of all shards, of the shard with the fewest and of that with the most. */
static text calls_answer(void) {
  text body = {0};
  int shards = 0, least = INT_MAX, most = 0;
  pthread_mutex_lock(&pace_lock);
  for (int i = 0; i < SHARDS_MAX; i++) {
    int asked = paced[i].asked;
    shards += asked > 0;
    most = asked > most ? asked : most;
    least = asked > 0 && asked < least ? asked : least;
  }
  ADD(&body, "{\"Shards\":%d,\"Calls\":%d,\"Throttled\":%d,\"Least\":%d,\"Most\":%d}", shards,
      all_paced.asked, all_paced.throttled, shards ? least : 0, most);
  memset(paced, 0, sizeof paced);
  memset(&all_paced, 0, sizeof all_paced);
  pthread_mutex_unlock(&pace_lock);
  return with_head(body);
}

static text throttled_answer(void) {
  static const char body[] =
      "{\"__type\":\"ProvisionedThroughputExceededException\",\"message\":\"Rate exceeded\"}";
  text out = {0};
  ADD(&out,
      "HTTP/1.1 400 Bad Request\r\nContent-Type: application/x-amz-json-1.1\r\n"
      "Content-Length: %zu\r\n\r\n%s",
      sizeof body - 1, body);
  return out;
}

static text paced_answer(int records, int bytes, int shard) {
  text body = {0};
  if (!take(shard, (double)records * bytes))
    return throttled_answer();
  const text *list = page_canned(paced_kind, records, bytes);
  ADD(&body, "{\"MillisBehindLatest\":60000,\"NextShardIterator\":\"%s:%dx%d:%d\",", paced_kind,
      records, bytes, shard);
  add_bytes(&body, list->at, list->len);
  return with_head(body);
}

static text iterator_answer(const char *kind, int records, int bytes, const char *request) {
  text body = {0};
  const char *shard = strstr(request, "\"shardId-");
  ADD(&body, "{\"ShardIterator\":\"%s:%dx%d:%d\"}", kind, records, bytes,
      shard ? atoi(shard + 9) : 0);
  return with_head(body);
}

/* ---- a connection ---- */

static ssize_t receive(const connection *c, char *at, size_t room) {
  return c->tls ? SSL_read(c->tls, at, room > INT_MAX ? INT_MAX : (int)room)
                : recv(c->fd, at, room, 0);
}

static bool send_all(const connection *c, const text *out) {
  for (size_t sent = 0; sent < out->len;) {
    size_t left = out->len - sent;
    ssize_t n = c->tls ? SSL_write(c->tls, out->at + sent, (int)left)
                       : send(c->fd, out->at + sent, left, MSG_NOSIGNAL);
    if (n <= 0)
      return false;
    sent += (size_t)n;
  }
  return true;
}

static int count_keys(const char *body) {
  static const char key[] = "\"PartitionKey\":";
  int count = 0;
  for (const char *at = body; (at = strstr(at, key)); at += sizeof key - 1)
    count++;
  return count;
}

/* The kind of the stream that a request names, or its iterator; *at is behind it. NULL: another. */
static const char *kind_of(const char *body, const char **at) {
  const char *const kinds[] = {page_kind, packed_kind, paced_kind};
  for (int i = 0; i < 3; i++) {
    char quoted[16];
    snprintf(quoted, sizeof quoted, "\"%s", kinds[i]);
    const char *found = strstr(body, quoted);
    *at = found ? found + strlen(quoted) + 1 : NULL;
    if (found)
      return kinds[i];
  }
  return NULL;
}

static bool answer(const connection *c, const char *operation, const char *body) {
  int records = 1000, bytes = 100, shards = 1; /* in an iterator, the last one is the shard */
  const char *shape, *kind = kind_of(body, &shape);
  const char *keyed = strstr(body, "\"keys-");
  bool limited = kind == paced_kind;
  if (keyed)
    sscanf(keyed + 6, "%d", &shards);
  else if (kind)
    sscanf(shape, "%dx%d%*[-:]%d", &records, &bytes, &shards);
  if (records < 1 || records > RECORDS_MAX || bytes < 1 || bytes > 1 << 20 || shards < 0 ||
      shards >= SHARDS_MAX)
    return false;
  if (strcmp(operation, "PutRecords") == 0 && !keyed)
    return send_all(c, put_records_canned(count_keys(body)));
  if (strcmp(operation, "GetRecords") == 0 && !limited)
    return send_all(c, page_canned(kind ? kind : page_kind, records, bytes));
  text made = strcmp(operation, "PutRecord") == 0    ? put_record_answer()
              : strcmp(operation, "PutRecords") == 0 ? keyed_answer(body, shards)
              : strcmp(operation, "GetRecords") == 0 ? paced_answer(records, bytes, shards)
              : strcmp(operation, "TellCalls") == 0  ? calls_answer()
              : strcmp(operation, "GetShardIterator") == 0
                  ? iterator_answer(kind ? kind : page_kind, records, bytes, body)
              : strcmp(operation, "DescribeStreamSummary") == 0
                  ? summary_answer(shards)
                  : shards_answer(shards > 0 ? shards : 1);
  bool sent = send_all(c, &made);
  free(made.at);
  return sent;
}

static void find_value(const char *head, const char *name, char *value, size_t room) {
  const char *at = strcasestr(head, name);
  size_t len = 0;
  for (at = at ? at + strlen(name) : ""; *at && *at != '\r' && len + 1 < room; at++)
    value[len++] = *at;
  value[len] = '\0';
}

/* Reads requests one after the other; what was read behind one is the next one's. */
static void serve(const connection *c) {
  text in = {.at = allocate(NULL, HEAD_MAX), .room = HEAD_MAX};
  for (;;) {
    char operation[64], length[24];
    char *end = in.len ? memmem(in.at, in.len, "\r\n\r\n", 4) : NULL;
    size_t head = end ? (size_t)(end - in.at) + 4 : 0, body = 0;
    if (end) {
      *end = '\0';
      find_value(in.at, "\r\nX-Amz-Target: Kinesis_20131202.", operation, sizeof operation);
      find_value(in.at, "\r\nContent-Length: ", length, sizeof length);
      *end = '\r';
      body = strtoul(length, NULL, 10);
    }
    if (end && in.len >= head + body) {
      char kept = in.at[head + body];
      in.at[head + body] = '\0';
      if (delay)
        usleep(delay * 1000);
      if (!answer(c, operation, in.at + head))
        break;
      in.at[head + body] = kept;
      in.len -= head + body;
      memmove(in.at, in.at + head + body, in.len);
      continue;
    }
    if (head + body + 1 >= in.room || in.len + 1 >= in.room) {
      in.room = 2 * (head + body + in.room);
      in.at = allocate(in.at, in.room);
    }
    ssize_t n = receive(c, in.at + in.len, in.room - in.len - 1);
    if (n <= 0)
      break;
    in.len += (size_t)n;
  }
  free(in.at);
}

static void *run_connection(void *user) {
  connection *c = user;
  if (!c->tls || SSL_accept(c->tls) == 1)
    serve(c);
  SSL_free(c->tls);
  close(c->fd);
  free(c);
  return NULL;
}

/* ---- the listeners ---- */

typedef struct listener {
  int fd;
  SSL_CTX *tls;
} listener;

static int open_port(int *port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t len = sizeof address;
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0 || bind(fd, (struct sockaddr *)&address, len) != 0 || listen(fd, 128) != 0 ||
      getsockname(fd, (struct sockaddr *)&address, &len) != 0) {
    perror("stub");
    exit(1);
  }
  *port = ntohs(address.sin_port);
  return fd;
}

static void *accept_all(void *user) {
  const listener *d = user;
  for (int fd; (fd = accept(d->fd, NULL, NULL)) >= 0;) {
    pthread_t thread;
    connection *c = allocate(NULL, sizeof *c);
    *c = (connection){.fd = fd, .tls = d->tls ? SSL_new(d->tls) : NULL};
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    if (c->tls)
      SSL_set_fd(c->tls, fd);
    if (pthread_create(&thread, NULL, run_connection, c) != 0)
      abort();
    pthread_detach(thread);
  }
  return NULL;
}

int main(int argc, char **argv) {
  int ports[2];
  pthread_t threads[2];
  listener listeners[2] = {{.tls = NULL}, {.tls = SSL_CTX_new(TLS_server_method())}};
  if (argc < 3 || SSL_CTX_use_certificate_chain_file(listeners[1].tls, argv[1]) != 1 ||
      SSL_CTX_use_PrivateKey_file(listeners[1].tls, argv[2], SSL_FILETYPE_PEM) != 1) {
    fprintf(stderr, "usage: stub CERTIFICATE KEY [MILLISECONDS]\n");
    return 1;
  }
  delay = argc > 3 ? (unsigned)atoi(argv[3]) : 0;
  signal(SIGPIPE, SIG_IGN);
  for (int i = 0; i < 2; i++) {
    listeners[i].fd = open_port(&ports[i]);
    pthread_create(&threads[i], NULL, accept_all, &listeners[i]);
  }
  printf("%d %d\n", ports[0], ports[1]);
  fflush(stdout);
  while (getchar() != EOF)
    continue;
  return 0;
}
