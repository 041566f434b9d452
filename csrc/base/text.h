/* text: what a message may quote: whole characters of UTF-8, without control characters and
 * without secrets. Any thread; no state. */
#ifndef KIN_BASE_TEXT_H
#define KIN_BASE_TEXT_H

#include <stdint.h>

#include "base/bytes.h"

/* Secrets shorter than this are words that any message may hold. */
enum { KIN_TEXT_SECRET_MIN = 8 };

/* The bytes of the character at the start of `text`, and its code point; 0: not UTF-8, as overlong
 * forms and surrogates are not. */
size_t kin_text_character(kin_slice text, uint32_t *code);

/* Makes text of any bytes safe to print, in place: control characters (U+0000 to U+001F, U+007F to
 * U+009F) become a space, bytes that are not UTF-8 a question mark. Returns the new length, which
 * is not larger. */
size_t kin_text_clean(char *at, size_t len);

/* The same for a terminated field. */
void kin_text_clean_field(char *field);

/* Replaces each occurrence of the secret by "***", in place; also of its beginning, when the text
 * holds 16 bytes of it. Returns the new length, which is not larger. A NULL secret is in no text.
 */
size_t kin_text_mask(char *at, size_t len, const char *secret);

/* Terminates a message in a field of `size` bytes; `len`: of the whole message, of which the field
 * holds size - 1 bytes when it is longer. Such a message is cut behind a character and ends in
 * "…". Cleans it. */
void kin_text_end(char *field, size_t size, size_t len);

#endif
