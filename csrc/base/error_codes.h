/* error_codes: the codes of the errors that this library itself sets. Errors of the service keep
 * the service's codes; the classes of those are in error.c. */
#ifndef KIN_BASE_ERROR_CODES_H
#define KIN_BASE_ERROR_CODES_H

#define KIN_CODE_BAD_ANSWER "BadAnswer"         /* a response that is not the operation's */
#define KIN_CODE_BAD_CONFIG "BadConfig"         /* a setting that cannot work */
#define KIN_CODE_CANCELLED "Cancelled"          /* the caller has dropped the call */
#define KIN_CODE_CLOSED "Closed"                /* the client, producer or reader was closed */
#define KIN_CODE_CONNECTION "Connection"        /* no response */
#define KIN_CODE_EXPIRED "Expired"              /* record_ttl has passed */
#define KIN_CODE_FULL "Full"                    /* a bounded queue is full */
#define KIN_CODE_LEASE_STORE "LeaseStore"       /* leases cannot be read or written */
#define KIN_CODE_NO_CREDENTIALS "NoCredentials" /* no provider has valid credentials */
#define KIN_CODE_OUT_OF_MEMORY "OutOfMemory"    /* of this process */
#define KIN_CODE_TIMEOUT "Timeout"              /* a deadline has passed */
#define KIN_CODE_TRIMMED "Trimmed"              /* records have expired before they were read */

#endif
