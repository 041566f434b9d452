/* lambda: the trace header of an AWS Lambda invocation, by which Lambda finds functions that call
 * themselves in a circle. Its variable is another one in each invocation; so it is read whenever
 * Lua sends something, on the Lua thread, since only that may read the environment.
 * https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html */
#ifndef KIN_ENGINE_LAMBDA_H
#define KIN_ENGINE_LAMBDA_H

#include "base/bytes.h"
#include "engine/mailbox.h"

enum { KIN_TRACE_HEADER_MAX = 8192 };

/* KIN_MESSAGE_TRACE_HEADER: the value of X-Amzn-Trace-Id from now on; empty: none. */
typedef struct kin_trace_header {
  kin_message message; /* first */
  char value[];        /* terminated */
} kin_trace_header;

/* Whether this process runs a Lambda function. */
bool kin_lambda_is_here(void);

/* Appends the header's value; nothing outside of Lambda, or without a trace id. */
void kin_lambda_trace_header(kin_buf *out);

/* NULL: out of memory. */
kin_trace_header *kin_trace_header_create(kin_slice value);

#endif
