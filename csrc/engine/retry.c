#include "engine/retry.h"

#include <time.h>

enum { COST_TRANSIENT = 14, COST_THROTTLED = 5, DOUBLINGS_MAX = 20 };

static const kin_time base_throttled = KIN_SECOND;
static const kin_time backoff_max = 20 * KIN_SECOND;
static const kin_time after_max = 5 * KIN_SECOND;
static const kin_time skew_significant = 240 * KIN_SECOND;
static const kin_time round_trip_max = 900 * KIN_SECOND;
static const kin_time date_precision = 2 * KIN_SECOND; /* a Date has whole seconds */
static const kin_time confirmed_max = 300 * KIN_SECOND;
static const kin_time signature_old = 60 * KIN_SECOND;

void kin_retry_init(kin_retry *retry) {
  *retry = (kin_retry){.quota = KIN_RETRY_QUOTA};
}

kin_time kin_retry_backoff_of(kin_clock *clock, kin_time base, kin_error_class class,
                              unsigned retries) {
  kin_time first = class == KIN_THROTTLED ? base_throttled : base;
  kin_time delay = first << (retries < DOUBLINGS_MAX ? retries : DOUBLINGS_MAX);
  if (delay > backoff_max)
    delay = backoff_max;
  return (kin_time)(clock->random(clock) * (double)delay);
}

kin_time kin_retry_backoff(kin_clock *clock, kin_error_class class, unsigned retries) {
  return kin_retry_backoff_of(clock, KIN_RETRY_BASE, class, retries);
}

bool kin_retry_again(kin_retry *retry, kin_clock *clock, kin_time base, const kin_error *error,
                     unsigned attempt, unsigned max, kin_time after, kin_time delay_max,
                     kin_time *delay, int *cost) {
  int price = error->class == KIN_THROTTLED ? COST_THROTTLED : COST_TRANSIENT;
  if (error->class == KIN_FATAL || attempt >= max || retry->quota < price)
    return false;
  *delay = kin_retry_backoff_of(clock, base, error->class, attempt - 1);
  if (after > *delay)
    *delay = after < *delay + after_max ? after : *delay + after_max;
  if (*delay >= delay_max)
    return false;
  retry->quota -= price;
  *cost = price;
  return true;
}

void kin_retry_success(kin_retry *retry, int cost) {
  retry->quota += cost > 0 ? cost : 1;
  if (retry->quota > KIN_RETRY_QUOTA)
    retry->quota = KIN_RETRY_QUOTA;
}

/* "Sun, 06 Nov 1994 08:49:37 GMT" to seconds; -1: malformed. strptime depends on the locale. */
static int64_t parse_date(const char *date) {
  static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
  struct tm utc = {0};
  char text[30];
  kin_slice_copy(kin_slice_of(date), text, sizeof text);
  if (strlen(text) != 29 || memcmp(text + 25, " GMT", 4) != 0)
    return -1;
  const char *number_at[] = {text + 5, text + 12, text + 14, text + 17, text + 20, text + 23};
  int numbers[6];
  for (int i = 0; i < 6; i++) {
    const char *at = number_at[i];
    if (at[0] < '0' || at[0] > '9' || at[1] < '0' || at[1] > '9')
      return -1;
    numbers[i] = (at[0] - '0') * 10 + (at[1] - '0');
  }
  text[11] = '\0';
  const char *month = strstr(months, text + 8);
  if (!month || (month - months) % 3 != 0)
    return -1;
  utc.tm_mday = numbers[0];
  utc.tm_mon = (int)(month - months) / 3;
  utc.tm_year = numbers[1] * 100 + numbers[2] - 1900;
  utc.tm_hour = numbers[3];
  utc.tm_min = numbers[4];
  utc.tm_sec = numbers[5];
  return (int64_t)timegm(&utc);
}

void kin_retry_note_date(kin_retry *retry, const char *date, kin_time sent, kin_time received,
                         kin_time now) {
  int64_t seconds = parse_date(date);
  kin_time at = seconds * KIN_SECOND - retry->skew; /* by the local clock */
  if (seconds < 0 || received < sent)
    return;
  if (at >= sent - date_precision && at <= received + date_precision) {
    retry->confirmed_at = now;
  } else if (received - sent <= round_trip_max) {
    retry->skew = seconds * KIN_SECOND - (sent + (received - sent) / 2);
    retry->confirmed_at = 0;
  }
}

kin_time kin_retry_expiry_offset(kin_time skew, kin_time confirmed_at, kin_time now) {
  bool confirmed = confirmed_at > 0 && now - confirmed_at < confirmed_max;
  return skew < 0 || confirmed ? skew : 0;
}

/* Codes of errors about the clock alone. */
static const char *const time_codes[] = {"RequestTimeTooSkewed", "RequestExpired",
                                         "RequestInTheFuture", NULL};

/* Codes of errors that may be about the clock. */
static const char *const signature_codes[] = {"InvalidSignatureException", "SignatureDoesNotMatch",
                                              "AuthFailure", "AccessDeniedException", NULL};

static bool is_one_of(const char *const *codes, const char *code) {
  while (*codes && strcmp(*codes, code) != 0)
    codes++;
  return *codes != NULL;
}

bool kin_retry_is_skew(const kin_retry *retry, const char *code, kin_time signed_with) {
  kin_time change = retry->skew - signed_with;
  return (change < 0 ? -change : change) > skew_significant &&
         (is_one_of(time_codes, code) || is_one_of(signature_codes, code));
}

bool kin_retry_is_signature_age(const kin_error *error, bool dated, kin_time age) {
  return strncmp(error->message, "Signature expired", 17) == 0 ||
         strncmp(error->message, "Signature not yet current", 25) == 0 ||
         (is_one_of(time_codes, error->code) && (dated || age > signature_old));
}
