/* stub: a service of canned answers, for measuring clients. One thread a connection, HTTP/1.1,
 * plain and TLS, on loopback.
 *
 *   stub CERTIFICATE KEY [MILLISECONDS]    prints "PLAIN_PORT TLS_PORT" and serves until its
 *                                          standard input ends; every answer waits so long
 *
 * PutRecords gets a result for each PartitionKey of its body. A stream named
 * "page-RECORDSxBYTES[-SHARDS]" has so many shards, and every page of them is full and the same. Of
 * a stream named "keys-SHARDS" each result names the shard that the record's hash key belongs to.
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

enum { HEAD_MAX = 16 << 10, RECORDS_MAX = 10000, PAGES_MAX = 16 };

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

static text page_answer(int records, int bytes) {
  text body = {0};
  unsigned char *data = allocate(NULL, (size_t)bytes + 8);
  unsigned char *base64 = allocate(NULL, (size_t)bytes * 2 + 8);
  unsigned long long state = 88172645463325252ULL;
  ADD(&body, "{\"MillisBehindLatest\":0,\"NextShardIterator\":\"page:%dx%d\",\"Records\":[",
      records, bytes);
  for (int i = 0; i < records; i++) {
    for (int at = 0; at < bytes; at += 8) {
      state ^= state << 13, state ^= state >> 7, state ^= state << 17;
      memcpy(data + at, &state, 8);
    }
    int len = EVP_EncodeBlock(base64, data, bytes);
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

static const text *page_canned(int records, int bytes) {
  static struct {
    int records, bytes;
    text answer;
  } pages[PAGES_MAX];
  static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  int i = 0;
  pthread_mutex_lock(&lock);
  while (i < PAGES_MAX - 1 && pages[i].answer.at &&
         (pages[i].records != records || pages[i].bytes != bytes))
    i++;
  if (!pages[i].answer.at) {
    pages[i].records = records;
    pages[i].bytes = bytes;
    pages[i].answer = page_answer(records, bytes);
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

static text iterator_answer(int records, int bytes) {
  text body = {0};
  ADD(&body, "{\"ShardIterator\":\"page:%dx%d\"}", records, bytes);
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

static bool answer(const connection *c, const char *operation, const char *body) {
  int records = 1000, bytes = 100, shards = 1;
  const char *shape = strstr(body, "page");
  const char *keyed = strstr(body, "\"keys-");
  if (shape && !keyed)
    sscanf(shape + 5, "%dx%d-%d", &records, &bytes, &shards);
  if (keyed)
    sscanf(keyed + 6, "%d", &shards);
  if (records < 1 || records > RECORDS_MAX || bytes < 1 || bytes > 1 << 20 || shards < 1)
    return false;
  if (strcmp(operation, "PutRecords") == 0 && !keyed)
    return send_all(c, put_records_canned(count_keys(body)));
  if (strcmp(operation, "GetRecords") == 0)
    return send_all(c, page_canned(records, bytes));
  text made = strcmp(operation, "PutRecord") == 0               ? put_record_answer()
              : strcmp(operation, "PutRecords") == 0            ? keyed_answer(body, shards)
              : strcmp(operation, "GetShardIterator") == 0      ? iterator_answer(records, bytes)
              : strcmp(operation, "DescribeStreamSummary") == 0 ? summary_answer(shards)
                                                                : shards_answer(shards);
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
