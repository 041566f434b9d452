#include "engine/proxy.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"

/* In libcurl's order: those for http, then those for https. */
static const char *const variables[] = {"http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy",
                                        "ALL_PROXY"};
enum { VARIABLES = sizeof variables / sizeof *variables, MISREAD_MAX = 256 };

static const char *value_of(int variable) {
  const char *const values[VARIABLES] = {getenv("http_proxy"), getenv("https_proxy"),
                                         getenv("HTTPS_PROXY"), getenv("all_proxy"),
                                         getenv("ALL_PROXY")};
  return values[variable] ? values[variable] : "";
}

/* The variable that libcurl takes the proxy from, or -1. */
static int find_variable(const char *url) {
  bool https = kin_slice_begins_with(kin_slice_of(url), "https:");
  for (int i = 0; i < VARIABLES; i++)
    if (value_of(i)[0] && (i >= 3 || https == (i > 0)))
      return i;
  return -1;
}

/* User name and password, up to the last @. */
static kin_slice userinfo_of(const char *value) {
  const char *scheme = strstr(value, "://"), *start = scheme ? scheme + 3 : value;
  const char *end = strrchr(start, '@');
  return (kin_slice){start, end ? (size_t)(end - start) : 0};
}

/* A URL's parser ends the host at the first of these. With one in its password, what libcurl takes
 * for the host and the port is the user name and the start of the password. */
static bool is_misread(kin_slice userinfo, const char *message) {
  char host[MISREAD_MAX], resolved[MISREAD_MAX + 32], connected[MISREAD_MAX + 32];
  char text[MISREAD_MAX];
  kin_slice_copy(userinfo, text, sizeof text);
  if (text[strcspn(text, "/?#")] == '\0')
    return false;
  size_t len = strcspn(text, ":/?#"), port = len + (text[len] == ':');
  kin_slice_copy((kin_slice){text, len}, host, sizeof host);
  snprintf(resolved, sizeof resolved, "proxy: %s", host);
  snprintf(connected, sizeof connected, "%s port %.*s", host, (int)strcspn(text + port, "/?#"),
           text + port);
  return strstr(message, resolved) || strstr(message, connected);
}

static void mask(char *message, const char *secret) {
  message[kin_text_mask(message, strlen(message), secret)] = '\0';
}

/* The user name and password together, and the password alone. */
static void mask_userinfo(char *message, kin_slice userinfo) {
  char *text = userinfo.len > 0 ? kin_slice_dup((kin_slice){userinfo.at, userinfo.len + 1}) : NULL;
  if (!text)
    return;
  mask(message, text);
  text[userinfo.len] = '\0';
  mask(message, text);
  const char *colon = strchr(text, ':');
  mask(message, colon ? colon + 1 : NULL);
  free(text);
}

bool kin_proxy_check_message(char *message, size_t size, const char *url) {
  static const char unsupported[] = "Unsupported proxy";
  int variable = find_variable(url);
  if (variable >= 0 && (strncmp(message, unsupported, sizeof unsupported - 1) == 0 ||
                        is_misread(userinfo_of(value_of(variable)), message))) {
    snprintf(message, size,
             "the proxy that %s names is no http://host:port; in its user name and password write "
             "%%23 for #, %%2F for /, %%3F for ?, %%40 for @, %%20 for a blank",
             variables[variable]);
    return true;
  }
  for (int i = 0; i < VARIABLES; i++)
    mask_userinfo(message, userinfo_of(value_of(i)));
  return false;
}
