/* proxy: what a message may say of the proxy that the environment names: not its user name and
 * password. libcurl quotes a URL that it cannot read as a whole. Engine thread. */
#ifndef KIN_ENGINE_PROXY_H
#define KIN_ENGINE_PROXY_H

#include "base/bytes.h"

/* Changes libcurl's message about an exchange with `url`, in a field of `size` bytes. True: the
 * proxy is named wrongly, and the message says so. */
bool kin_proxy_check_message(char *message, size_t size, const char *url);

#endif
