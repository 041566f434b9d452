#include "engine/call.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "engine/internal.h"
#include "wire/crc32.h"
#include "wire/error_body.h"

/* Headers that a proxy may drop are not signed. */
enum { HOST_MAX = 256, SIGNED_AGAIN_MAX = 2, SIGNED_MAX = 5, LINES_MAX = SIGNED_MAX + 3 };

/* Bytes of an access key id and a session token: with the other lines they fit into a request's
 * head. */
enum { KIN_CREDENTIALS_MAX = 60 << 10 };

static void free_call(kin_message *message) {
  kin_request_free_buffers((kin_request *)message);
  free(message);
}

static const kin_target *target_of(const kin_call *call, const kin_engine *engine) {
  return call->target ? call->target : engine->fixed.target;
}

static void trace(kin_call *call, kin_engine *engine, kin_event_kind kind, kin_time delay) {
  if (!engine->engine_only.trace.enabled)
    return;
  const char *url = call->request.exchange.url;
  kin_message *event = kin_trace_event(&engine->engine_only.trace, kind, call,
                                       url ? url : target_of(call, engine)->endpoint.url,
                                       kin_engine_now(engine), delay);
  if (event)
    kin_engine_notify(engine, event);
}

void kin_call_note_retry(kin_call *call, kin_engine *engine, kin_time delay) {
  kin_count(&engine->shared.counters.retries, 1);
  trace(call, engine, KIN_EVENT_RETRY, delay);
}

/* ---- an attempt ---- */

/* Appends a terminated header line; returns its offset. */
static size_t add_line(kin_buf *head, const char *name, const char *value) {
  size_t start = head->len;
  kin_buf_add_text(head, name);
  kin_buf_add_text(head, ": ");
  kin_buf_add_text(head, value);
  kin_buf_add(head, "", 1);
  return start;
}

/* Appends a terminated URL; returns its offset. */
static size_t add_url(kin_buf *head, const char *host, const char *path) {
  size_t start = head->len;
  kin_buf_add_text(head, "https://");
  kin_buf_add_text(head, host);
  kin_buf_add_text(head, path);
  kin_buf_add(head, "", 1);
  return start;
}

/* The host of the call: the account's, or the endpoint's. NULL: there is none; *why is set. */
static const char *find_host(const kin_endpoint *endpoint, const char *account_id, char *buffer,
                             size_t size, const char **why) {
  *why = endpoint->account_host && account_id && !account_id[0]
             ? "the account id of the credentials is invalid"
         : endpoint->needs_account && !account_id
             ? "account endpoints are required, but the account of the credentials is not known"
             : NULL;
  if (*why || !endpoint->account_host || !account_id)
    return *why ? NULL : endpoint->host;
  snprintf(buffer, size, "%s.%s", account_id, endpoint->account_host);
  return buffer;
}

/* Builds the attempt and signs it. False: out of memory. */
static bool build(kin_call *call, kin_engine *engine, const kin_target *target, const char *host) {
  const kin_credentials *credentials = &engine->engine_only.credentials.current->credentials;
  const kin_trace_header *lambda = engine->engine_only.trace_header;
  static const char *const names[SIGNED_MAX] = {"content-type", "host", "x-amz-date",
                                                "x-amz-security-token", "x-amz-target"};
  const kin_endpoint *endpoint = &target->endpoint;
  char date[KIN_SIGV4_DATE], operation[80], attempt[40];
  kin_sigv4_date(kin_engine_wall(engine) / KIN_SECOND, date);
  snprintf(operation, sizeof operation, "%s%s", endpoint->service->target_prefix,
           call->request.operation);
  snprintf(attempt, sizeof attempt, "attempt=%u; max=%u", call->attempt, call->max_attempts);
  const char *values[SIGNED_MAX] = {endpoint->service->content_type, host, date,
                                    credentials->session_token, operation};
  size_t lines[LINES_MAX];
  kin_header headers[SIGNED_MAX];
  kin_exchange *exchange = &call->request.exchange;
  kin_buf *head = &call->request.head;
  size_t count = 0;

  kin_buf_clear(head);
  for (size_t i = 0; i < SIGNED_MAX; i++) {
    if (!values[i])
      continue;
    lines[count] = add_line(head, names[i], values[i]);
    headers[count++] = (kin_header){kin_slice_of(names[i]), kin_slice_of(values[i])};
  }
  size_t signed_count = count;
  lines[count++] = add_line(head, "amz-sdk-invocation-id", call->invocation);
  lines[count++] = add_line(head, "amz-sdk-request", attempt);
  if (lambda && lambda->value[0])
    lines[count++] = add_line(head, "X-Amzn-Trace-Id", lambda->value);
  kin_sigv4_request request = {
      .method = "POST",
      .path = kin_slice_of(endpoint->path),
      .headers = headers,
      .header_count = signed_count,
      .payload = kin_buf_slice(&call->request.body),
  };
  size_t url = host == endpoint->host ? 0 : add_url(head, host, endpoint->path);
  size_t authorization = head->len;
  kin_buf_add_text(head, "authorization: ");
  if (!kin_sigv4_sign(target->signer, credentials, date, &request, head) || !kin_buf_text(head))
    return false;
  for (size_t i = 0; i < count; i++)
    exchange->headers[i] = head->at + lines[i];
  exchange->headers[count] = head->at + authorization;
  exchange->headers[count + 1] = "Expect:"; /* libcurl would wait for a 100 Continue */
  exchange->header_count = count + 2;
  exchange->url = url > 0 ? head->at + url : endpoint->url;
  exchange->body = kin_buf_slice(&call->request.body);
  exchange->connect_timeout = target->connect_timeout;
  exchange->timeout = call->timeout ? call->timeout : target->request_timeout;
  exchange->silence = target->request_timeout;
  exchange->fresh = exchange->kept;
  return true;
}

/* A version 4 UUID of the engine's random number and a count. */
static void make_invocation_id(kin_call *call, kin_engine *engine) {
  const unsigned *random = engine->engine_only.invocation_random;
  snprintf(call->invocation, sizeof call->invocation, "%08x-%04x-4%03x-%04x-%04x%08x", random[0],
           random[1] >> 16, random[1] & 0xfff, 0x8000 | (random[2] >> 18), random[2] & 0xffff,
           engine->engine_only.invocations++);
}

/* Whether these credentials can sign: one that is longer than any that AWS gives is a mistake. */
static bool fits(const kin_credentials *credentials) {
  const char *token = credentials->session_token;
  return strlen(credentials->secret_access_key) <= KIN_SIGV4_SECRET_MAX &&
         strlen(credentials->access_key_id) + (token ? strlen(token) : 0) <= KIN_CREDENTIALS_MAX;
}

bool kin_call_prepare(kin_request *request, kin_engine *engine) {
  kin_call *call = (kin_call *)request;
  kin_exchange *exchange = &request->exchange;
  const kin_credentials_message *current = engine->engine_only.credentials.current;
  const kin_target *target = target_of(call, engine);
  char account_host[HOST_MAX];
  const char *why, *host = find_host(&target->endpoint, current->account_id, account_host,
                                     sizeof account_host, &why);
  if (!host) {
    kin_request_clear_error(request);
    kin_error_set(&request->error, KIN_FATAL, KIN_CODE_BAD_CONFIG, "%s", why);
    return false;
  }
  if (call->attempt++ == 0)
    make_invocation_id(call, engine);
  call->received = 0;
  if (!build(call, engine, target, host)) {
    if (fits(&current->credentials))
      kin_error_set(&request->error, KIN_TRANSIENT, KIN_CODE_OUT_OF_MEMORY,
                    "out of memory before the request was sent");
    else
      kin_error_set(&request->error, KIN_FATAL, KIN_CODE_NO_CREDENTIALS,
                    "the credentials are too long to sign with");
    return false;
  }
  if (request->deadline != KIN_NEVER) {
    kin_time left = request->deadline - kin_engine_now(engine);
    if (left < exchange->timeout)
      exchange->timeout = left > 0 ? left : KIN_MILLISECOND;
  }
  call->credentials = engine->engine_only.credentials.generation;
  call->skew = engine->engine_only.retry.skew;
  call->sent_at = engine->engine_only.clock.wall(&engine->engine_only.clock);
  kin_count(&engine->shared.counters.attempts, 1);
  kin_count(&engine->shared.counters.bytes_sent, request->body.len);
  trace(call, engine, KIN_EVENT_REQUEST, 0);
  return true;
}

/* ---- the response ---- */

/* Code and message of the service's error, from header or body. Reads a copy of the body, because
 * reading overwrites it and the message may have to quote it. */
static void read_error(kin_call *call, kin_slice *code, kin_slice *text, kin_buf *copy) {
  kin_slice header = kin_slice_of(call->request.exchange.error_type);
  kin_buf_add_slice(copy, kin_buf_slice(&call->request.exchange.answer));
  kin_error_body_read(copy, code, text);
  if (header.len > 0)
    *code = header;
  *code = kin_error_bare_code(*code);
}

/* The start of an unexpected body, on one line. */
static void quote(const kin_buf *answer, char *out, size_t size) {
  if (answer->len > 0)
    memcpy(out, answer->at, answer->len < size ? answer->len : size);
  kin_text_end(out, size, answer->len);
}

static void classify_error_body(kin_call *call, const char *quoted) {
  kin_error *error = &call->request.error;
  int status = call->request.exchange.status;
  kin_slice code = {0}, text = {0};
  kin_buf copy;
  kin_buf_init(&copy, KIN_ANSWER_MAX);
  read_error(call, &code, &text, &copy);
  if (code.len > 0)
    kin_error_set_service(error, kin_error_classify(code, status), code, text);
  else if (copy.out_of_memory || call->request.exchange.answer.out_of_memory)
    kin_error_set(error, KIN_TRANSIENT, KIN_CODE_OUT_OF_MEMORY, "out of memory for HTTP %d",
                  status);
  else
    kin_error_set(error, kin_error_classify(code, status), KIN_CODE_BAD_ANSWER,
                  "HTTP %d with a body that names no AWS error: \"%s\"; is the endpoint %s?",
                  status, quoted,
                  (call->target ? call->target->endpoint.service : &kin_service_kinesis)->title);
  kin_buf_free(&copy);
}

/* A success that could not be read. */
static void set_unreadable(kin_call *call, const char *quoted) {
  kin_error *error = &call->request.error;
  const kin_exchange *exchange = &call->request.exchange;
  if (exchange->answer.out_of_memory || call->out_of_memory)
    kin_error_set(error, KIN_TRANSIENT, KIN_CODE_OUT_OF_MEMORY, "out of memory for the response");
  else
    kin_error_set(error, ++call->unread < KIN_UNKNOWN_ATTEMPTS ? KIN_TRANSIENT : KIN_FATAL,
                  KIN_CODE_BAD_ANSWER,
                  "HTTP %d with a body that is not a response of this operation: \"%s\"",
                  exchange->status, quoted);
}

void kin_call_classify(kin_call *call) {
  kin_exchange *exchange = &call->request.exchange;
  char quoted[96];
  kin_request_clear_error(&call->request);
  call->out_of_memory = false;
  quote(&exchange->answer, quoted, sizeof quoted); /* before `read` overwrites it */
  if (kin_request_classify_transport(&call->request, KIN_URL_QUOTED))
    return;
  if (call->damaged)
    kin_error_set(&call->request.error, KIN_TRANSIENT, KIN_CODE_BAD_ANSWER,
                  "HTTP %d with a damaged body: its checksum is not %s", exchange->status,
                  exchange->crc32);
  else if (exchange->status < 200 || exchange->status > 299)
    classify_error_body(call, quoted);
  else if (!kin_buf_text(&exchange->answer) || (call->read && !call->read(call)))
    set_unreadable(call, quoted);
}

kin_time kin_call_retry_after(const kin_call *call) {
  const char *text = call->request.exchange.retry_after;
  char *end;
  if (text[0] < '0' || text[0] > '9')
    return -1;
  long long millis = strtoll(text, &end, 10);
  return *end == '\0' && millis < 1000000000000 ? millis * KIN_MILLISECOND : -1;
}

/* ---- secrets: a service may quote the request that it refuses ---- */

static size_t mask(const kin_call *call, kin_engine *engine, char *at, size_t len) {
  static const char token[] = "x-amz-security-token: ";
  const kin_exchange *exchange = &call->request.exchange;
  const kin_credentials_message *current = engine->engine_only.credentials.current;
  for (size_t i = 0; i < exchange->header_count; i++)
    if (strncmp(exchange->headers[i], token, sizeof token - 1) == 0)
      len = kin_text_mask(at, len, exchange->headers[i] + sizeof token - 1);
  return kin_text_mask(at, len, current ? current->credentials.secret_access_key : NULL);
}

static void mask_field(const kin_call *call, kin_engine *engine, char *field) {
  field[mask(call, engine, field, strlen(field))] = '\0';
}

void kin_call_mask(const kin_call *call, kin_engine *engine, kin_buf *text) {
  if (!text->failed && text->len > 0)
    text->len = mask(call, engine, text->at, text->len);
}

void kin_call_mask_slice(const kin_call *call, kin_engine *engine, kin_slice *text) {
  if (text->len > 0)
    text->len = mask(call, engine, (char *)text->at, text->len);
}

/* A success holds data of the user, which stay as they are; but PutRecords has messages, of entries
 * that failed: who reads its answer masks them (kin_call_mask_slice). */
static void mask_response(kin_call *call, kin_engine *engine) {
  kin_exchange *exchange = &call->request.exchange;
  bool has_messages = !call->read && strcmp(call->request.operation, "PutRecords") == 0;
  if (exchange->status < 200 || exchange->status > 299 || has_messages)
    kin_call_mask(call, engine, &exchange->answer);
  mask_field(call, engine, exchange->error_type);
  mask_field(call, engine, exchange->request_id);
}

/* The service has taken the credentials, whatever it says about the rest. */
static void note_accepted(const kin_call *call, kin_engine *engine) {
  const kin_error *error = &call->request.error;
  if (error->class == KIN_OK ||
      (error->class == KIN_FATAL && error->status > 0 && !kin_error_is_about_credentials(error)))
    kin_credentials_accept(&engine->engine_only.credentials, call->credentials,
                           call->request.started_at);
}

static void note_date(const kin_call *call, kin_engine *engine) {
  kin_retry *retry = &engine->engine_only.retry;
  kin_retry_note_date(retry, call->request.exchange.date, call->sent_at,
                      engine->engine_only.clock.wall(&engine->engine_only.clock),
                      kin_engine_now(engine));
  atomic_store(&engine->shared.skew, retry->skew);
  atomic_store(&engine->shared.skew_confirmed_at, retry->confirmed_at);
}

/* Whether there is a checksum, and the response, of any status, is another one. */
static bool is_damaged(const kin_exchange *exchange) {
  char *end;
  unsigned long long sum = strtoull(exchange->crc32, &end, 10);
  return exchange->crc32[0] && !*end && exchange->failed == KIN_OK &&
         sum != kin_crc32(kin_buf_slice(&exchange->answer));
}

void kin_call_receive(kin_call *call, kin_engine *engine, void (*classify)(kin_call *call)) {
  const kin_exchange *exchange = &call->request.exchange;
  if (exchange->date[0] && !exchange->aged && exchange->failed == KIN_OK)
    note_date(call, engine);
  call->received += exchange->answer.len;
  kin_count(&engine->shared.counters.bytes_received, exchange->answer.len);
  call->damaged = is_damaged(exchange);
  mask_response(call, engine);
  classify(call);
  mask_field(call, engine, call->request.error.message); /* it may quote the start of any body */
  note_accepted(call, engine);
  trace(call, engine, KIN_EVENT_RESPONSE, 0);
  if (call->request.error.class == KIN_THROTTLED)
    kin_count(&engine->shared.counters.throttled, 1);
}

/* Whether the service has refused the age of the signature, and the call is sent at once with a new
 * one: the machine may have slept while the request was under way. */
static bool is_signed_again(kin_call *call, kin_engine *engine) {
  const kin_request *request = &call->request;
  kin_time age = engine->engine_only.clock.wall(&engine->engine_only.clock) - call->sent_at;
  bool may = request->machine != 0 || call->attempt < call->max_attempts;
  if (!may || call->signed_again == SIGNED_AGAIN_MAX ||
      !kin_retry_is_signature_age(&request->error, request->exchange.date[0] != '\0', age))
    return false;
  call->signed_again++;
  return true;
}

/* The service has refused the call's credentials. True: the call waits for other ones. */
static bool awaits_credentials(kin_call *call, kin_engine *engine) {
  kin_request *request = &call->request;
  kin_credentials_store *store = &engine->engine_only.credentials;
  bool is_current = call->credentials == store->generation;
  bool can_wait = kin_loop_can_wait(engine, request);
  if (is_current && !can_wait && call->asked_for_credentials)
    return false;
  if (!kin_credentials_refuse(store, call->credentials, &request->error, can_wait,
                              kin_engine_now(engine)))
    return false;
  call->asked_for_credentials = call->asked_for_credentials || is_current;
  request->refused = is_current;
  return true;
}

kin_next kin_call_next(kin_call *call, kin_engine *engine, kin_time *delay) {
  kin_request *request = &call->request;
  kin_error *error = &request->error;
  if (error->class == KIN_OK) {
    if (request->machine == 0) /* machines retry by themselves, outside the quota */
      kin_retry_success(&engine->engine_only.retry, call->cost);
    return KIN_NEXT_DELIVER;
  }
  if (is_signed_again(call, engine))
    return KIN_NEXT_QUEUE;
  if (kin_retry_is_skew(&engine->engine_only.retry, error->code, call->skew))
    error->class = KIN_TRANSIENT;
  if (kin_error_is_about_credentials(error) && awaits_credentials(call, engine))
    return KIN_NEXT_QUEUE;
  kin_time left =
      request->deadline == KIN_NEVER ? KIN_NEVER : request->deadline - kin_engine_now(engine);
  if (!kin_retry_again(&engine->engine_only.retry, &engine->engine_only.clock,
                       target_of(call, engine)->endpoint.service->retry_base, error, call->attempt,
                       call->max_attempts, kin_call_retry_after(call), left, delay, &call->cost))
    return KIN_NEXT_DELIVER;
  kin_call_note_retry(call, engine, *delay);
  return KIN_NEXT_RETRY;
}

/* ---- the vtable ---- */

static kin_time accept(kin_request *request, kin_engine *engine) {
  kin_count(&engine->shared.counters.calls, 1);
  if (request->deadline == KIN_NEVER && request->machine == 0)
    request->deadline = kin_time_after(kin_engine_now(engine), engine->fixed.call_timeout);
  return 0;
}

static kin_next classify_attempt(kin_request *request, kin_engine *engine, kin_time *delay) {
  kin_call *call = (kin_call *)request;
  kin_call_receive(call, engine, kin_call_classify);
  return kin_call_next(call, engine, delay);
}

void kin_call_deliver(kin_request *request, kin_engine *engine) {
  if (request->error.class != KIN_OK)
    kin_count(&engine->shared.counters.failed, 1);
  kin_engine_deliver(engine, request->machine, &request->message);
}

void kin_call_init(kin_call *call, const char *operation, unsigned max_attempts) {
  static const kin_request_vtable vtable = {KIN_SLOT_CONNECTION, accept, kin_call_prepare,
                                            classify_attempt, kin_call_deliver};
  kin_request_init(&call->request, &vtable, operation, free_call);
  call->max_attempts = max_attempts;
}

kin_call *kin_call_create(const char *operation, unsigned max_attempts) {
  kin_call *call = calloc(1, sizeof *call);
  if (call)
    kin_call_init(call, operation, max_attempts);
  return call;
}
