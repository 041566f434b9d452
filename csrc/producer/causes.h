/* causes: why records of a producer were not stored, by error code: how often, and the newest error
 * of each code. The engine thread notes, any thread reads; both under a lock of its own, under
 * which nothing is called. The last of the KIN_CAUSES stands for all codes that found no place. */
#ifndef KIN_PRODUCER_CAUSES_H
#define KIN_PRODUCER_CAUSES_H

#include <pthread.h>
#include <stdint.h>

#include "base/error.h"

enum { KIN_CAUSES = 24 };

#define KIN_CAUSE_OTHER "Other"

typedef struct kin_cause {
  kin_error error; /* the newest of this code */
  uint64_t count;  /* failed attempts at records as the service counts them */
  uint64_t untold; /* those of them that the user is to hear of */
} kin_cause;

typedef struct kin_causes {
  pthread_mutex_t lock;
  kin_cause *list[KIN_CAUSES]; /* owned; each is made when its code first comes */
  size_t kinds;
  const kin_cause *newest;
  bool current; /* nothing was stored since the newest */
} kin_causes;

void kin_causes_init(kin_causes *causes);
void kin_causes_destroy(kin_causes *causes);

/* Notes `count` failed attempts. `tell`: the user is to hear of them. True: there was nothing to
 * hear of this code before. When memory is out for a new code, it is not noted. */
bool kin_causes_note(kin_causes *causes, const kin_error *error, uint64_t count, bool tell);

/* Something was stored. */
void kin_causes_end(kin_causes *causes);

/* The next cause that the user is to hear of, and has heard of from now on; `fatal`: also those
 * after which records are not sent again. Returns of how many attempts; 0: there is none. */
uint64_t kin_causes_next(kin_causes *causes, bool fatal, kin_error *error);

/* The newest error, and whether nothing was stored since. False: there was none. */
bool kin_causes_newest(kin_causes *causes, kin_error *error, bool *current);

typedef struct kin_cause_count {
  char code[sizeof((kin_error *)0)->code];
  uint64_t count;
} kin_cause_count;

/* Copies the counts. Returns how many causes there are. */
size_t kin_causes_count(kin_causes *causes, kin_cause_count counts[KIN_CAUSES]);

#endif
