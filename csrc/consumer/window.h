/* window: how many bytes a reader may have fetched ahead of Lua. The reader reserves before it
 * asks, a page holds its part until Lua is through with it, and at low water the reader is message
 * to go on. Shared by the machine (engine thread) and its pages (either thread); counted. */
#ifndef KIN_CONSUMER_WINDOW_H
#define KIN_CONSUMER_WINDOW_H

#include "engine/engine.h"

typedef struct kin_window kin_window;

/* The engine must outlive the window. NULL when memory is out. */
kin_window *kin_window_create(kin_engine *engine, uint64_t reader, size_t max_bytes);
kin_window *kin_window_hold(kin_window *window);
void kin_window_release(kin_window *window);

/* Any thread. */
bool kin_window_take(kin_window *window, size_t bytes);
void kin_window_resize(kin_window *window, size_t from, size_t to);
void kin_window_give(kin_window *window, size_t bytes);

/* Failures that were message and not yet looked at are bounded too: false when there are enough of
 * them. Any thread. */
bool kin_window_take_trouble(kin_window *window);
void kin_window_give_trouble(kin_window *window);

#endif
