/* http: the transport by libcurl; the only module that includes curl.h. Engine thread, unless said
 * otherwise. */
#ifndef KIN_ENGINE_HTTP_H
#define KIN_ENGINE_HTTP_H

#include "engine/transport.h"

/* Initialises libcurl once in the process. Any thread. False: libcurl failed. */
bool kin_http_global_init(void);

/* Any thread. `ca_bundle`: a PEM file of authorities that replaces the system's, or NULL. NULL: out
 * of memory. */
kin_transport *kin_http_create(const char *ca_bundle, const char *user_agent, int max_connections);

#endif
