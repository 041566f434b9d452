/* http: the transport that is libcurl. The only room that knows curl.h. */
#ifndef KIN_ENGINE_HTTP_H
#define KIN_ENGINE_HTTP_H

#include "engine/transport.h"

/* Once a process, any thread; false when libcurl cannot start. */
bool kin_http_global_init(void);

/* `ca_bundle`: a PEM file to trust instead of the system's, or NULL. NULL when memory is out. */
kin_transport *kin_http_create(const char *ca_bundle, const char *user_agent, int max_connections);

#endif
