#include "engine/call.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/openssl.h"
#include "wire/error_body.h"

/* Signed are the headers that matter; the others a proxy may drop. */
enum { BODY_MAX = 48 << 20, HEAD_MAX = 64 << 10, SIGNED_MAX = 5, LINES_MAX = SIGNED_MAX + 2 };

static void free_call(kin_message *message) {
  kin_call *call = (kin_call *)message;
  if (call->fetch && call->body.at)
    OPENSSL_cleanse(call->body.at, call->body.len);
  if (call->fetch && call->exchange.answer.at)
    OPENSSL_cleanse(call->exchange.answer.at, call->exchange.answer.len);
  kin_buf_free(&call->body);
  if (call->head.at)
    OPENSSL_cleanse(call->head.at, call->head.len); /* the session token */
  kin_buf_free(&call->head);
  kin_buf_free(&call->exchange.answer);
  free(call);
}

kin_call *kin_call_create(const char *operation, unsigned max_attempts) {
  kin_call *call = calloc(1, sizeof *call);
  if (!call)
    return NULL;
  call->message = (kin_message){.kind = KIN_MESSAGE_CALL, .free = free_call};
  kin_slice_copy(kin_slice_of(operation), call->operation, sizeof call->operation);
  call->max_attempts = max_attempts;
  call->deadline = KIN_NEVER;
  kin_buf_init(&call->body, BODY_MAX);
  kin_buf_init(&call->head, HEAD_MAX);
  kin_buf_init(&call->exchange.answer, KIN_ANSWER_MAX);
  return call;
}

kin_call *kin_call_fetch(const char *method, kin_slice head) {
  kin_call *call = kin_call_create("", 1);
  if (!call)
    return NULL;
  call->fetch = true;
  kin_slice_copy(kin_slice_of(method), call->method, sizeof call->method);
  kin_buf_add_slice(&call->head, head);
  if (!call->head.failed)
    return call;
  kin_message_free(&call->message);
  return NULL;
}

/* ---- an attempt ---- */

void kin_call_prepare_fetch(kin_call *call) {
  kin_exchange *exchange = &call->exchange;
  const char *at = call->head.at, *end = at + call->head.len;
  exchange->url = at;
  exchange->method = call->method;
  exchange->body = kin_buf_slice(&call->body);
  exchange->header_count = 0;
  for (at += strlen(at) + 1; at < end; at += strlen(at) + 1)
    if (exchange->header_count < KIN_EXCHANGE_HEADERS_MAX)
      exchange->headers[exchange->header_count++] = at;
}

typedef struct head_line {
  size_t start, value; /* offsets into the head */
  size_t end;
} head_line;

static head_line add_line(kin_buf *head, const char *name, const char *value) {
  head_line line = {.start = head->len};
  kin_buf_add_text(head, name);
  kin_buf_add_text(head, ": ");
  line.value = head->len;
  kin_buf_add_text(head, value);
  line.end = head->len;
  kin_buf_add(head, "", 1);
  return line;
}

bool kin_call_prepare(kin_call *call, const kin_target *target, kin_sigv4 *signer,
                      const kin_credentials *keys, kin_time wall) {
  static const char *const names[SIGNED_MAX] = {"content-type", "host", "x-amz-date",
                                                "x-amz-security-token", "x-amz-target"};
  char date[KIN_SIGV4_DATE], operation[80], attempt[40];
  kin_sigv4_date(wall / KIN_SECOND, date);
  snprintf(operation, sizeof operation, "Kinesis_20131202.%s", call->operation);
  snprintf(attempt, sizeof attempt, "attempt=%u; max=%u", call->attempt, call->max_attempts);
  const char *values[SIGNED_MAX] = {"application/x-amz-json-1.1", target->host, date,
                                    keys->session_token, operation};
  head_line lines[LINES_MAX];
  kin_header headers[SIGNED_MAX];
  kin_exchange *exchange = &call->exchange;
  kin_buf *head = &call->head;
  size_t count = 0;

  kin_buf_clear(head);
  kin_error_clear(&call->broken);
  for (size_t i = 0; i < SIGNED_MAX; i++) {
    if (!values[i])
      continue;
    lines[count] = add_line(head, names[i], values[i]);
    headers[count++] = (kin_header){kin_slice_of(names[i]), kin_slice_of(values[i])};
  }
  size_t signed_count = count;
  lines[count++] = add_line(head, "amz-sdk-invocation-id", call->invocation);
  lines[count++] = add_line(head, "amz-sdk-request", attempt);
  kin_sigv4_request request = {
      .method = "POST",
      .path = kin_slice_of(target->path),
      .headers = headers,
      .header_count = signed_count,
      .payload = kin_buf_slice(&call->body),
  };
  size_t authorization = head->len;
  kin_buf_add_text(head, "authorization: ");
  if (!kin_sigv4_sign(signer, keys, date, &request, head) || !kin_buf_text(head)) {
    kin_error_set(&call->error, KIN_FATAL, KIN_CODE_NO_CREDENTIALS,
                  "the request could not be signed: out of memory, or keys beyond any length");
    return false;
  }
  for (size_t i = 0; i < count; i++)
    exchange->headers[i] = head->at + lines[i].start;
  exchange->headers[count] = head->at + authorization;
  exchange->headers[count + 1] = "Expect:"; /* or libcurl waits for a 100 Continue */
  exchange->header_count = count + 2;
  exchange->url = target->url;
  exchange->body = kin_buf_slice(&call->body);
  exchange->connect_timeout = target->connect_timeout;
  exchange->timeout = call->stream ? call->stream_life : target->request_timeout;
  exchange->silence = target->request_timeout;
  return true;
}

/* ---- what came back ---- */

/* Code and message as the service tells them: header, or body. A copy of the body is read, as
 * reading spoils it and the message may have to quote it. */
static void read_error(kin_call *call, kin_slice *code, kin_slice *text, kin_buf *copy) {
  kin_slice told = kin_slice_of(call->exchange.error_type);
  kin_buf_add_slice(copy, kin_buf_slice(&call->exchange.answer));
  kin_error_body_read(copy, code, text);
  if (told.len > 0)
    *code = told;
  *code = kin_error_bare_code(*code);
}

/* The first words of a body that should have been something else, on one line. */
static void quote(const kin_buf *answer, char *out, size_t room) {
  size_t len = 0;
  for (size_t i = 0; i < answer->len && len + 1 < room && len < 80; i++) {
    unsigned char c = (unsigned char)answer->at[i];
    out[len++] = c >= 0x20 && c < 0x7f ? (char)c : ' ';
  }
  out[len] = '\0';
}

static void classify_error_body(kin_call *call, const char *words) {
  kin_error *error = &call->error;
  int status = call->exchange.status;
  kin_slice code = {0}, text = {0};
  kin_buf copy;
  kin_buf_init(&copy, KIN_ANSWER_MAX);
  read_error(call, &code, &text, &copy);
  if (code.len > 0) {
    kin_error_set_service(error, kin_error_classify(code, status), code, text);
  } else {
    kin_error_set(error, kin_error_classify(code, status), KIN_CODE_BAD_ANSWER,
                  "HTTP %d with a body that names no AWS error: \"%s\"; is the endpoint Kinesis?",
                  status, words);
  }
  kin_buf_free(&copy);
}

void kin_call_classify(kin_call *call) {
  kin_error *error = &call->error;
  kin_exchange *exchange = &call->exchange;
  char words[96];
  kin_error_clear(error);
  quote(&exchange->answer, words, sizeof words); /* before `read` spoils it */
  error->status = exchange->status;
  kin_slice_copy(kin_slice_of(call->operation), error->operation, sizeof error->operation);
  kin_slice_copy(kin_slice_of(exchange->request_id), error->request_id, sizeof error->request_id);
  if (call->broken.class != KIN_OK) {
    kin_error_set(error, call->broken.class, call->broken.code, "%s", call->broken.message);
  } else if (exchange->failed != KIN_OK) {
    const char *code = exchange->too_large   ? KIN_CODE_BAD_ANSWER
                       : exchange->timed_out ? KIN_CODE_TIMEOUT
                                             : KIN_CODE_CONNECTION;
    /* who knows the path of a container's keys can fetch them */
    const char *path = call->fetch ? strchr(exchange->url + sizeof "https:/", '/') : NULL;
    kin_error_set(error, exchange->failed, code, "%s (%.*s)", exchange->trouble,
                  path ? (int)(path - exchange->url) : 160, exchange->url);
  } else if (call->fetch) {
    kin_buf_text(&exchange->answer);
  } else if (exchange->status < 200 || exchange->status > 299) {
    classify_error_body(call, words);
  } else if (call->stream && exchange->answer.len > 0) {
    kin_error_set(error, KIN_TRANSIENT, KIN_CODE_BAD_ANSWER, "the stream of events broke off");
  } else if (!kin_buf_text(&exchange->answer) || (call->read && !call->read(call))) {
    kin_error_set(error, KIN_TRANSIENT, KIN_CODE_BAD_ANSWER,
                  "HTTP %d with a body that is no answer of this operation: \"%s\"",
                  exchange->status, words);
  }
}

kin_time kin_call_retry_after(const kin_call *call) {
  const char *text = call->exchange.retry_after;
  char *end;
  if (text[0] < '0' || text[0] > '9')
    return -1;
  long long millis = strtoll(text, &end, 10);
  return *end == '\0' && millis < 1000000000000 ? millis * KIN_MILLISECOND : -1;
}
