/* window: counts the bytes that a reader has fetched ahead of Lua. The back-pressure is decided in
 * reader.c (`reserve`), which takes bytes before it calls for a page, and without them the shard is
 * BLOCKED; and in space.c, when an answer is larger than that. The page holds them until Lua has
 * delivered its records, and at low water the reader is sent KIN_MESSAGE_RESUME. Shared by the
 * reader (engine thread) and its pages (either thread), and counted: the last reference out frees
 * it. Any thread; taking bytes: the engine thread.
 *
 * The windows of readers that share a pool have their maximum from it. */
#ifndef KIN_CONSUMER_WINDOW_H
#define KIN_CONSUMER_WINDOW_H

#include "consumer/window_pool.h"
#include "engine/engine.h"

typedef struct kin_window kin_window;

/* The engine must outlive the window. With a pool, which it holds, max_bytes does not count. NULL
 * when memory is out. */
kin_window *kin_window_create(kin_engine *engine, uint64_t reader, size_t max_bytes,
                              kin_window_pool *pool);
kin_window *kin_window_hold(kin_window *window);
void kin_window_release(kin_window *window);

/* The bytes that a page may have which fits now: the least of a page, or more. 0: any, as it has no
 * pool. */
size_t kin_window_fit(kin_window *window);

/* False: it is full, and KIN_MESSAGE_RESUME will be posted at low water. */
bool kin_window_take(kin_window *window, size_t bytes);

/* The bytes of a page in flight grow. False: they do not fit, and KIN_MESSAGE_RESUME will be posted
 * when the window is not exceeded any more. With *exceed they may exceed it, if the others do not;
 * *exceed becomes whether they do. */
bool kin_window_grow(kin_window *window, size_t from, size_t to, bool *exceed);
void kin_window_resize(kin_window *window, size_t from, size_t to);
void kin_window_give(kin_window *window, size_t bytes);

/* Errors that were posted and that Lua has not taken are bounded, too. False: at the bound. */
bool kin_window_take_trouble(kin_window *window);
void kin_window_give_trouble(kin_window *window);

#endif
