/* floor: the workloads of this bench with nothing but libcurl and our own wire rooms: one thread,
 * no engine, no Lua, no retries. What a client costs beyond this is its own. See ours.lua for the
 * arguments and the answer.
 *
 *   floor put|put_many|read|packed RECORDSxBYTES ENDPOINT CALLS WARM_UP IN_FLIGHT
 *
 * `packed` reads records that are in aggregates.
 */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include "wire/aggregate.h"
#include "wire/get_records.h"
#include "wire/put_records.h"
#include "wire/sigv4.h"

enum { POOL = 65536, BODY_MAX = 32 << 20, IN_FLIGHT_MAX = 64, SIGNED = 4, LINES = SIGNED + 2 };

typedef struct flight {
  CURL *easy;
  kin_buf body, answer, authorization;
  char lines[LINES][160];
  struct curl_slist nodes[LINES];
} flight;

static const char *operation, *endpoint, *kind = "page";
static size_t count, size, offset, sum;
static unsigned long long key;
static char *pool;
static kin_sigv4 *signer;
static kin_md5 *md5; /* NULL: records are not in aggregates */
static CURLM *multi;

static void check(bool good, const char *what) {
  if (good)
    return;
  fprintf(stderr, "floor: %s failed\n", what);
  exit(1);
}

static kin_put next_put(char text[24]) {
  offset = (offset + 37) & (POOL - 1);
  int len = snprintf(text, 24, "k%015llu", ++key);
  return (kin_put){.data = {pool + offset, size}, .partition_key = {text, (size_t)len}};
}

static void build(kin_buf *body) {
  char text[24];
  kin_slice stream = KIN_SLICE("bench");
  kin_buf_clear(body);
  if (strcmp(operation, "PutRecord") == 0) {
    kin_put put = next_put(text);
    kin_put_record_build(body, stream, &put, (kin_slice){0});
  } else if (strcmp(operation, "PutRecords") == 0) {
    kin_put_records_open(body, stream);
    for (size_t i = 0; i < count; i++) {
      kin_put put = next_put(text);
      kin_put_records_next(body);
      kin_put_records_add(body, &put);
    }
    kin_put_records_close(body);
  } else {
    snprintf(text, sizeof text, "%s:%zux%zu", kind, count, size);
    kin_get_records_build(body, stream, kin_slice_of(text), 0);
  }
  check(!body->failed, "building a body");
}

static void sign(flight *f) {
  const kin_credentials keys = {"AKIDEXAMPLE", "secret", NULL};
  char date[KIN_SIGV4_DATE], target[64];
  kin_sigv4_date(time(NULL), date);
  snprintf(target, sizeof target, "Kinesis_20131202.%s", operation);
  kin_header headers[SIGNED] = {
      {KIN_SLICE("content-type"), KIN_SLICE("application/x-amz-json-1.1")},
      {KIN_SLICE("host"), kin_slice_of(strstr(endpoint, "//") + 2)},
      {KIN_SLICE("x-amz-date"), kin_slice_of(date)},
      {KIN_SLICE("x-amz-target"), kin_slice_of(target)},
  };
  kin_sigv4_request request = {.method = "POST",
                               .path = KIN_SLICE("/"),
                               .headers = headers,
                               .header_count = SIGNED,
                               .payload = kin_buf_slice(&f->body)};
  kin_buf_clear(&f->authorization);
  kin_buf_add_text(&f->authorization, "authorization: ");
  check(kin_sigv4_sign(signer, &keys, date, &request, &f->authorization) &&
            kin_buf_text(&f->authorization),
        "signing");
  for (size_t i = 0; i < SIGNED; i++) {
    snprintf(f->lines[i], sizeof f->lines[i], "%s: %s", headers[i].name.at, headers[i].value.at);
    f->nodes[i].data = f->lines[i];
  }
  f->nodes[SIGNED].data = f->authorization.at;
  f->nodes[SIGNED + 1].data = "Expect:";
  for (size_t i = 0; i + 1 < LINES; i++)
    f->nodes[i].next = &f->nodes[i + 1];
}

static size_t on_body(char *bytes, size_t unit, size_t number, void *user) {
  kin_buf_add(&((flight *)user)->answer, bytes, unit * number);
  return unit * number;
}

static void start(flight *f) {
  build(&f->body);
  sign(f);
  kin_buf_clear(&f->answer);
  curl_easy_setopt(f->easy, CURLOPT_HTTPHEADER, f->nodes);
  curl_easy_setopt(f->easy, CURLOPT_POSTFIELDS, f->body.at);
  curl_easy_setopt(f->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)f->body.len);
  check(curl_multi_add_handle(multi, f->easy) == CURLM_OK, "starting a transfer");
}

static void take_results(kin_buf *answer) {
  static kin_put_result results[KIN_PUT_RECORDS_MAX];
  kin_slice encryption;
  bool one = strcmp(operation, "PutRecord") == 0;
  check(one ? kin_put_record_read(answer->at, answer->len, results, &encryption)
            : kin_put_records_read(answer->at, answer->len, results, count, &encryption),
        "reading results");
  for (size_t i = 0; i < count; i++)
    sum += results[i].sequence_number.len;
}

static void take_data(kin_slice data) {
  sum += data.len + (unsigned char)data.at[0] + (unsigned char)data.at[data.len - 1];
}

static void take_aggregate(kin_slice data) {
  kin_aggregate_reader reader;
  kin_put user;
  bool out_of_memory;
  check(kin_aggregate_open(&reader, md5, data, &out_of_memory), "reading an aggregate");
  while (kin_aggregate_next(&reader, &user))
    take_data(user.data);
  kin_aggregate_close(&reader);
}

static void take_page(kin_buf *answer) {
  kin_page page;
  bool out_of_memory;
  check(kin_get_records_read(&page, answer, &out_of_memory), "reading a page");
  for (size_t i = 0; i < page.record_count; i++) {
    if (md5)
      take_aggregate(page.records[i].data);
    else
      take_data(page.records[i].data);
  }
  *answer = page.body; /* its memory is used again */
  page.body = (kin_buf){0};
  kin_page_free(&page);
}

static void make_flight(flight *f) {
  *f = (flight){.easy = curl_easy_init()};
  kin_buf_init(&f->body, BODY_MAX);
  kin_buf_init(&f->answer, BODY_MAX);
  kin_buf_init(&f->authorization, 4096);
  curl_easy_setopt(f->easy, CURLOPT_URL, endpoint);
  curl_easy_setopt(f->easy, CURLOPT_CAINFO, getenv("AWS_CA_BUNDLE"));
  curl_easy_setopt(f->easy, CURLOPT_CAPATH, NULL);
  curl_easy_setopt(f->easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(f->easy, CURLOPT_BUFFERSIZE, 64L << 10);
  curl_easy_setopt(f->easy, CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(f->easy, CURLOPT_WRITEDATA, f);
  curl_easy_setopt(f->easy, CURLOPT_PRIVATE, f);
}

static void run(int calls, int in_flight) {
  static flight flights[IN_FLIGHT_MAX];
  int started = 0, done = 0, running, left;
  for (; started < calls && started < in_flight; started++) {
    if (!flights[started].easy)
      make_flight(&flights[started]);
    start(&flights[started]);
  }
  while (done < calls) {
    curl_multi_perform(multi, &running);
    for (CURLMsg *message; (message = curl_multi_info_read(multi, &left));) {
      flight *f;
      check(message->data.result == CURLE_OK, "a transfer");
      curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&f);
      curl_multi_remove_handle(multi, f->easy);
      if (strcmp(operation, "GetRecords") == 0)
        take_page(&f->answer);
      else
        take_results(&f->answer);
      if (started < calls) {
        start(f);
        started++;
      }
      done++;
    }
    if (running > 0)
      curl_multi_poll(multi, NULL, 0, 1000, NULL);
  }
}

static double cpu(void) {
  struct timespec used;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return (double)used.tv_sec + (double)used.tv_nsec * 1e-9;
}

int main(int argc, char **argv) {
  struct rusage usage;
  check(argc == 7 && sscanf(argv[2], "%zux%zu", &count, &size) == 2, "reading the arguments");
  bool packed = strcmp(argv[1], "packed") == 0;
  if (packed) {
    kind = "packed";
    md5 = kin_md5_create();
  }
  operation = strcmp(argv[1], "put") == 0              ? "PutRecord"
              : packed || strcmp(argv[1], "read") == 0 ? "GetRecords"
                                                       : "PutRecords";
  endpoint = argv[3];
  int calls = atoi(argv[4]), warm_up = atoi(argv[5]), in_flight = atoi(argv[6]);
  check(in_flight >= 1 && in_flight <= IN_FLIGHT_MAX && count <= KIN_PUT_RECORDS_MAX * 20,
        "reading the numbers");
  pool = malloc(POOL + size);
  for (size_t i = 0; pool && i < POOL + size; i++)
    pool[i] = (char)(i * 2654435761U >> 13);
  curl_global_init(CURL_GLOBAL_DEFAULT);
  multi = curl_multi_init();
  signer = kin_sigv4_create(KIN_SLICE("us-east-1"), KIN_SLICE("kinesis"));
  check(pool && multi && signer, "beginning");
  run(warm_up, in_flight);
  double before = cpu();
  run(calls, in_flight);
  double used = cpu() - before;
  getrusage(RUSAGE_SELF, &usage);
  printf(
      "{\"records\":%zu,\"cpu\":%.6f,\"wall\":0,\"p50\":0,\"p99\":0,\"memory\":%.1f,\"sum\":%zu}\n",
      count * (size_t)calls, used, (double)usage.ru_maxrss / 1024, sum);
  return 0;
}
