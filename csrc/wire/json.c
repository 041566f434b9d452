#include "wire/json.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum { DEPTH_MAX = 64, EXPONENT_MAX = 400 };

/* ---- writing ---- */

void kin_json_add_string(kin_buf *out, kin_slice text) {
  static const char hex[] = "0123456789abcdef";
  kin_buf_add(out, "\"", 1);
  size_t plain = 0;
  for (size_t i = 0; i < text.len; i++) {
    unsigned char c = (unsigned char)text.at[i];
    if (c >= 0x20 && c != '"' && c != '\\')
      continue;
    kin_buf_add(out, text.at + plain, i - plain);
    plain = i + 1;
    if (c == '"' || c == '\\')
      kin_buf_add(out, (char[]){'\\', (char)c}, 2);
    else
      kin_buf_add(out, (char[]){'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]}, 6);
  }
  kin_buf_add(out, text.at + plain, text.len - plain);
  kin_buf_add(out, "\"", 1);
}

void kin_json_add_name(kin_buf *out, const char *name) {
  if (out->len > 0 && out->at[out->len - 1] != '{')
    kin_buf_add(out, ",", 1);
  kin_buf_add(out, "\"", 1);
  kin_buf_add_text(out, name);
  kin_buf_add(out, "\":", 2);
}

bool kin_json_add_number(kin_buf *out, double number) {
  enum { FEWEST = 15, MOST = 17 }; /* digits that a double keeps, that tell it from all others */
  char text[64];
  int precision = FEWEST;
  if (!(number - number == 0))
    return false;
  do
    snprintf(text, sizeof text, "%.*g", precision, number);
  while (strtod(text, NULL) != number && ++precision <= MOST);
  /* what is no ASCII digit, sign or exponent is the decimal point of the locale: one byte or more
   */
  for (const char *at = text; *at;) {
    size_t len = strspn(at, "+-0123456789e");
    kin_buf_add(out, at, len);
    at += len;
    if (*at)
      kin_buf_add(out, ".", 1);
    at += strcspn(at, "+-0123456789e");
  }
  return true;
}

/* ---- reading ---- */

void kin_json_init(kin_json *json, char *text, size_t len) {
  *json = (kin_json){.at = text, .end = len > 0 ? text + len : text}; /* empty: may be NULL */
}

static bool bad(kin_json *json) {
  json->bad = true;
  json->at = json->end;
  return false;
}

static bool is_blank(char c) {
  return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static void skip_blanks(kin_json *json) {
  while (json->at < json->end && is_blank(*json->at))
    json->at++;
}

static bool take(kin_json *json, char c) {
  if (json->at < json->end && is_blank(*json->at))
    skip_blanks(json);
  if (json->at == json->end || *json->at != c)
    return false;
  json->at++;
  return true;
}

kin_json_kind kin_json_peek(kin_json *json) {
  skip_blanks(json);
  if (json->at == json->end)
    return KIN_JSON_BAD;
  switch (*json->at) {
  case '{':
    return KIN_JSON_OBJECT;
  case '[':
    return KIN_JSON_ARRAY;
  case '"':
    return KIN_JSON_STRING;
  case 't':
    return KIN_JSON_TRUE;
  case 'f':
    return KIN_JSON_FALSE;
  case 'n':
    return KIN_JSON_NULL;
  default:
    return *json->at == '-' || (*json->at >= '0' && *json->at <= '9') ? KIN_JSON_NUMBER
                                                                      : KIN_JSON_BAD;
  }
}

static bool enter(kin_json *json, char c) {
  if (!take(json, c))
    return bad(json);
  json->fresh = true;
  return true;
}

bool kin_json_object(kin_json *json) {
  return enter(json, '{');
}

bool kin_json_array(kin_json *json) {
  return enter(json, '[');
}

/* Moves past a comma. False: the closing bracket was read, or the text is malformed. */
static bool more(kin_json *json, char close) {
  bool fresh = json->fresh;
  json->fresh = false;
  if (take(json, close))
    return false;
  return fresh || take(json, ',') || bad(json);
}

bool kin_json_key(kin_json *json, kin_slice *key) {
  return more(json, '}') && kin_json_string(json, key) && (take(json, ':') || bad(json));
}

bool kin_json_item(kin_json *json) {
  return more(json, ']');
}

static int hex4(const char *at) {
  int value = 0;
  for (int i = 0; i < 4; i++) {
    char c = at[i];
    int digit = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : -1;
    if (digit < 0)
      return -1;
    value = value << 4 | digit;
  }
  return value;
}

static char *put_utf8(char *out, uint32_t c) {
  if (c < 0x80) {
    *out++ = (char)c;
  } else if (c < 0x800) {
    *out++ = (char)(0xc0 | c >> 6);
    *out++ = (char)(0x80 | (c & 0x3f));
  } else if (c < 0x10000) {
    *out++ = (char)(0xe0 | c >> 12);
    *out++ = (char)(0x80 | (c >> 6 & 0x3f));
    *out++ = (char)(0x80 | (c & 0x3f));
  } else {
    *out++ = (char)(0xf0 | c >> 18);
    *out++ = (char)(0x80 | (c >> 12 & 0x3f));
    *out++ = (char)(0x80 | (c >> 6 & 0x3f));
    *out++ = (char)(0x80 | (c & 0x3f));
  }
  return out;
}

/* Reads the code point after `\u`, which takes two escapes for a surrogate pair; a lone surrogate
 * becomes U+FFFD. Advances *at. -1: not an escape. */
static int32_t take_code_point(const char **at, const char *end) {
  if (end - *at < 4)
    return -1;
  int32_t high = hex4(*at);
  if (high < 0)
    return -1;
  *at += 4;
  if (high < 0xd800 || high > 0xdfff)
    return high;
  if (high < 0xdc00 && end - *at >= 6 && (*at)[0] == '\\' && (*at)[1] == 'u') {
    int32_t low = hex4(*at + 2);
    if (low >= 0xdc00 && low <= 0xdfff) {
      *at += 6;
      return 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
    }
  }
  return 0xfffd;
}

/* Decodes in place from the first backslash up to the closing quote: an escape is never shorter
 * than its character. While `raw`, only checks it, and the text is as it is written. */
static bool unescape(kin_json *json, char *start, char *backslash, kin_slice *text) {
  const char *in = backslash;
  char *out = backslash, unused[4];
  while (in < json->end && *in != '"') {
    if (json->raw)
      out = unused;
    if (*in != '\\') {
      *out++ = *in++;
      continue;
    }
    if (json->end - in < 2)
      return bad(json);
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    const char *name = in[1] ? strchr(names, in[1]) : NULL;
    if (name) {
      *out++ = values[name - names];
      in += 2;
    } else if (in[1] == 'u') {
      in += 2;
      int32_t c = take_code_point(&in, json->end);
      if (c < 0)
        return bad(json);
      out = put_utf8(out, (uint32_t)c);
    } else {
      return bad(json);
    }
  }
  if (in >= json->end)
    return bad(json);
  *text = (kin_slice){start, (size_t)((json->raw ? in : out) - start)};
  json->at += in + 1 - json->at;
  return true;
}

/* The first quote or backslash from `at` on, or NULL. Most strings are too short for a call of
 * memchr to pay. */
static char *find_special(char *at, char *end) {
#ifdef __SSE2__
  enum { BLOCK = 16, BLOCKS = 4 };
  const __m128i quotes = _mm_set1_epi8('"'), backslashes = _mm_set1_epi8('\\');
  for (int i = 0; i < BLOCKS && end - at >= BLOCK; i++, at += BLOCK) {
    __m128i block = _mm_loadu_si128((const __m128i *)at);
    int found = _mm_movemask_epi8(
        _mm_or_si128(_mm_cmpeq_epi8(block, quotes), _mm_cmpeq_epi8(block, backslashes)));
    if (found)
      return at + __builtin_ctz((unsigned)found);
  }
#endif
  char *quote = memchr(at, '"', (size_t)(end - at));
  char *backslash = quote ? memchr(at, '\\', (size_t)(quote - at)) : NULL;
  return backslash ? backslash : quote;
}

bool kin_json_string(kin_json *json, kin_slice *text) {
  if (!take(json, '"'))
    return bad(json);
  char *start = json->at;
  char *special = find_special(start, json->end);
  if (!special)
    return bad(json);
  if (*special == '\\')
    return unescape(json, start, special, text);
  *text = (kin_slice){start, (size_t)(special - start)};
  json->at = special + 1;
  return true;
}

bool kin_json_string_or_null(kin_json *json, kin_slice *text) {
  if (kin_json_peek(json) != KIN_JSON_NULL)
    return kin_json_string(json, text);
  *text = (kin_slice){0};
  return kin_json_null(json);
}

static bool take_sign(kin_json *json, char sign) {
  if (json->at == json->end || *json->at != sign)
    return false;
  json->at++;
  return true;
}

/* Appends digits to `value`; digits beyond its precision are counted in `dropped`. Returns the
 * number of digits read. */
static int take_digits(kin_json *json, uint64_t *value, int *dropped) {
  const char *start = json->at, *at = start;
  uint64_t sum = *value;
  for (; at < json->end && *at >= '0' && *at <= '9'; at++) {
    if (sum > (UINT64_MAX - 9) / 10)
      ++*dropped;
    else
      sum = sum * 10 + (uint64_t)(*at - '0');
  }
  *value = sum;
  json->at += at - start;
  return (int)(at - start);
}

static double scale(double value, int exponent) {
  static const double tens[] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11};
  bool down = exponent < 0;
  for (int left = down ? -exponent : exponent; left > 0 && value != 0;) {
    int step = left < 11 ? left : 11;
    value = down ? value / tens[step] : value * tens[step];
    left -= step;
  }
  return value;
}

/* strtod depends on the host's locale and is slow. This is exact for timestamps (up to 15 digits
 * and a small exponent), otherwise within a few units in the last place. */
bool kin_json_number(kin_json *json, double *number) {
  uint64_t digits = 0, exponent = 0;
  int dropped = 0, ignored = 0, fraction = 0;
  skip_blanks(json);
  bool negative = take_sign(json, '-');
  if (take_digits(json, &digits, &dropped) == 0)
    return bad(json);
  int sum = dropped;
  if (json->at < json->end && *json->at == '.') {
    json->at++;
    dropped = 0;
    fraction = take_digits(json, &digits, &dropped);
    if (fraction == 0)
      return bad(json);
    sum -= fraction - dropped;
  }
  if (json->at < json->end && (*json->at == 'e' || *json->at == 'E')) {
    json->at++;
    bool down = take_sign(json, '-');
    if (!down)
      take_sign(json, '+');
    if (take_digits(json, &exponent, &ignored) == 0)
      return bad(json);
    int bounded = ignored > 0 || exponent > EXPONENT_MAX ? EXPONENT_MAX : (int)exponent;
    sum += down ? -bounded : bounded;
  }
  double value = scale((double)digits, sum);
  *number = negative ? -value : value;
  return true;
}

static bool take_word(kin_json *json, const char *word) {
  size_t len = strlen(word);
  skip_blanks(json);
  if ((size_t)(json->end - json->at) < len || memcmp(json->at, word, len) != 0)
    return bad(json);
  json->at += len;
  return true;
}

bool kin_json_null(kin_json *json) {
  return kin_json_peek(json) == KIN_JSON_NULL && take_word(json, "null");
}

static bool skip_at(kin_json *json, int depth) {
  kin_slice text;
  double number;
  switch (kin_json_peek(json)) {
  case KIN_JSON_STRING:
    return kin_json_string(json, &text);
  case KIN_JSON_NUMBER:
    return kin_json_number(json, &number);
  case KIN_JSON_TRUE:
    return take_word(json, "true");
  case KIN_JSON_FALSE:
    return take_word(json, "false");
  case KIN_JSON_NULL:
    return take_word(json, "null");
  case KIN_JSON_OBJECT:
    if (depth == DEPTH_MAX || !kin_json_object(json))
      return bad(json);
    while (kin_json_key(json, &text))
      skip_at(json, depth + 1);
    return !json->bad;
  case KIN_JSON_ARRAY:
    if (depth == DEPTH_MAX || !kin_json_array(json))
      return bad(json);
    while (kin_json_item(json))
      skip_at(json, depth + 1);
    return !json->bad;
  default:
    return bad(json);
  }
}

bool kin_json_skip(kin_json *json) {
  return skip_at(json, 0);
}

bool kin_json_raw(kin_json *json, kin_slice *text) {
  skip_blanks(json);
  const char *start = json->at;
  bool was_raw = json->raw;
  json->raw = true;
  bool good = kin_json_skip(json);
  json->raw = was_raw;
  *text = (kin_slice){start, (size_t)(json->at - start)};
  return good;
}

bool kin_json_done(kin_json *json) {
  skip_blanks(json);
  return !json->bad && json->at == json->end;
}
